import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { text } from 'node:stream/consumers';
import { compareTables } from '../../lib/hpt/compare.js';
import { HptReader } from '../../lib/io/reader.js';
import { readTable } from '../../lib/io/read-table.js';
import { attachHtab } from '../../lib/vm/kvm/attach.js';
import { receiveHtab } from '../../lib/vm/kvm/handover.js';
import { CHECKER_ORDER, checkGoesOn, checkedStats, startChecker } from './checker.js';
import type { Test } from './runner.js';
import { htabDescriptors, openDescriptors } from './vmm.js';

const ATTACHES = 200;
const KILLS = 100;

/** Tables of a VMM that hands over nothing: its own thread opens them. */
export function attachSuite(test: Test): void {
  test('the table of a paused guest is the same, attached and handed over', async () => {
    await using guest = await startChecker(0);
    assert.equal(await guest.ask('pause'), 'ok paused');
    const { handle, order } = await attachHtab({ pid: guest.pid });
    assert.equal(order, CHECKER_ORDER);
    const attached = await readTable(handle, { order });
    const given = await readTable(await receiveHtab(guest.socketPath, { request: 'open-read\n' }), { order });
    assert.ok(given.validCount > 0);
    assert.deepEqual({ ...compareTables(attached, given) }, { count: 0, ptexes: [] });
    assert.equal(await guest.ask('resume'), 'ok');
    await checkedStats(guest);
  });

  test(
    `${ATTACHES} attaches leave nothing in a VMM whose guest works`,
    async (t) => {
      await using guest = await startChecker(0);
      const before = openDescriptors(guest.pid);
      const times: number[] = [];
      for (let count = 0; count < ATTACHES; count++) {
        const begun = performance.now();
        const { handle } = await attachHtab({ pid: guest.pid, order: CHECKER_ORDER });
        times.push(performance.now() - begun);
        assert.ok((await handle.read(new Uint8Array(1 << 16))) > 0);
        await handle.close();
      }
      assert.deepEqual(openDescriptors(guest.pid), before);
      const { iteration } = await checkedStats(guest);
      times.sort((one, other) => one - other);
      const [median, most] = [times[ATTACHES >> 1]!, times.at(-1)!].map((ms) => ms.toFixed(0));
      t.note(`an attach took ${median} ms, ${most} ms at most; guest at iteration ${iteration}`);
    },
    { timeoutMs: 600_000 },
  );

  test(
    `a tracer killed at any of its system calls, ${KILLS} times, harms no guest`,
    async (t) => {
      await using guest = await startChecker(0);
      const { fd } = await attachHtab({ pid: guest.pid, order: CHECKER_ORDER }).then(async (attached) => {
        await attached.handle.close();
        return attached;
      });
      const args = [guest.pid, guest.pid, fd, KILLS].map(String);
      const killer = spawn('bin/kill-tracer', args, { stdio: ['ignore', 'pipe', 'inherit'] });
      const said = await text(killer.stdout);
      assert.match(said, new RegExp(`^${KILLS} killed at \\d+ places\\n$`));
      const { iteration } = await checkGoesOn(guest);
      const left = htabDescriptors(guest.pid);
      t.note(`${said.trim()}; guest at iteration ${iteration}; ${left.length} descriptors left in its VMM`);
      await assert.rejects(attachHtab({ pid: guest.pid }), { state: 'in-use' });
    },
    { timeoutMs: 600_000 },
  );

  test('nothing is read where the VMM has an HTAB descriptor open, and a pass ends that sees one open', async () => {
    await using guest = await startChecker(0);
    const { handle, order } = await attachHtab({ pid: guest.pid });
    await using reader = new HptReader(handle, { order });
    for await (const chunk of reader.pass()) assert.ok(chunk.length > 0);
    assert.equal(await guest.ask('hold'), 'ok');
    const pass = async (): Promise<void> => {
      for await (const chunk of reader.pass()) assert.ok(chunk.length > 0);
    };
    await assert.rejects(pass, { state: 'in-use', message: /a migration of the guest has begun/ });
    await assert.rejects(attachHtab({ pid: guest.pid, order }), { state: 'in-use', message: /wait until/ });
    assert.equal(await guest.ask('release'), 'ok');
    const again = await attachHtab({ pid: guest.pid, order });
    await again.handle.close();
    await checkedStats(guest);
  });

  test('of several VMs one must be chosen', async () => {
    await using guest = await startChecker(0);
    await (await receiveHtab(guest.socketPath, { request: 'open-write\n' })).close();
    await assert.rejects(attachHtab({ pid: guest.pid }), { reason: 'several-vms' });
    await assert.rejects(attachHtab({ pid: guest.pid, fd: 0 }), { reason: 'no-vm' });
    await assert.rejects(attachHtab({ pid: 1 }), { reason: 'no-vm' });
  });
}
