import assert from 'node:assert/strict';
import { mkdtempSync } from 'node:fs';
import { join } from 'node:path';
import { digestTable } from '../../../lib/hpt/digest.js';
import type { Test, TestContext } from '../runner.js';
import { until } from '../until.js';
import { htabDescriptors } from '../vmm.js';
import { readAttached } from './attached.js';
import { CommandHere } from './command-here.js';
import { damageRecord, outOfRange, wraps } from './damage.js';
import { readDebugfs } from './debugfs.js';
import { Qemu } from './qemu.js';
import { MIN_ENTRIES, type SharedGuest } from './shared-guest.js';

const MOVES = 3;

/** Live migrations from QEMU to QEMU, with the relay between them. */
export function moveTests(test: Test, guest: SharedGuest): void {
  for (let move = 1; move <= MOVES; move++) {
    test(`a guest moves live through the relay, the tables of both sides are equal (move ${move})`, async (t) => {
      const source = await guest.qemu(t.signal);
      const { destination, relay, address } = await prepare(guest, t.signal);
      await source.migrate(`unix:${address}`);
      await relay.mustEnd(0);
      assert.equal(await source.migrated(t.signal), 'completed');
      const { digest } = await relay.told('digest');
      for (const side of [source, destination]) assert.equal(digestTable(await readAttached(side)), digest);
      assert.deepEqual(readDebugfs(destination.debugfsPath), readDebugfs(source.debugfsPath));
      await destination.qmp.execute('cont');
      await guest.movedTo(destination);
      await destination.works(t.signal);
      noteMove(t, relay);
    });
  }

  test('the relay refuses a table with too few entries, and the guest goes on at the source', async (t) => {
    const source = await guest.qemu(t.signal);
    const { destination, relay, address } = await prepare(guest, t.signal, 1_000_000);
    await using _ = destination;
    await source.migrate(`unix:${address}`);
    await relay.mustEnd(1);
    assert.match(relay.said, /valid entries, fewer than 1000000/);
    await keepsGuest(source, destination, t);
  });

  for (const [name, damage, said] of [
    ['beyond the table', outOfRange, /beyond the last entry/],
    ['whose end wraps at 32 bits', wraps, /32 bits/],
  ] as const) {
    test(`the relay refuses a record ${name}, and the guest goes on at the source`, async (t) => {
      const source = await guest.qemu(t.signal);
      const { destination, relay, address } = await prepare(guest, t.signal);
      await using _ = destination;
      using proxy = await damageRecord(address, damage);
      await source.migrate(`unix:${proxy.address}`);
      await relay.mustEnd(1);
      assert.match(relay.said, said);
      await keepsGuest(source, destination, t);
    });
  }
}

/** Last of all: the guest's table has another order then. */
export function resizeTest(test: Test, guest: SharedGuest): void {
  test('the relay refuses a table that grows in mid-migration, and the guest goes on at the source', async (t) => {
    const source = await guest.qemu(t.signal);
    const { destination, relay, address } = await prepare(guest, t.signal);
    await using _ = destination;
    const { order } = await readAttached(source);
    await source.migrateSlowly(`unix:${address}`);
    // From here on the kernel has a descriptor whose first pass goes over the table, whichever it is.
    await until(() => htabDescriptors(source.pid).length > 0 || undefined, t.signal);
    await source.resizeTable(order + 1, t.signal);
    await source.hurry();
    await relay.mustEnd(1);
    t.note(String(relay.events.at(-1)!['message']));
    await keepsGuest(source, destination, t);
    assert.equal((await readAttached(source)).order, order + 1);
  });
}

/** A destination that waits, stopped, for the guest, and a relay before it. */
async function prepare(
  { series, folder: parent }: SharedGuest,
  signal: AbortSignal,
  minEntries = MIN_ENTRIES,
): Promise<{ destination: Qemu; relay: CommandHere; address: string }> {
  const folder = mkdtempSync(join(parent, 'move-'));
  const incoming = `unix:${join(folder, 'incoming')}`;
  const address = join(folder, 'relay');
  const destination = await Qemu.start(series, signal, ['-S', '-incoming', 'defer']);
  await destination.qmp.execute('migrate-set-capabilities', {
    capabilities: [{ capability: 'return-path', state: true }],
  });
  await destination.qmp.execute('migrate-incoming', { uri: incoming });
  const options = ['--json', '--min-entries', String(minEntries)];
  const relay = new CommandHere(['relay', `unix:${address}`, incoming, ...options]);
  await relay.told('listening');
  return { destination, relay, address };
}

/** Checks a migration that was refused. */
async function keepsGuest(source: Qemu, destination: Qemu, t: TestContext): Promise<void> {
  assert.equal(await source.migrated(t.signal), 'failed');
  await destination.ended();
  assert.equal(await source.status(), 'running');
  await source.works(t.signal);
}

function noteMove(t: TestContext, relay: CommandHere): void {
  const done = relay.events.find(({ event }) => event === 'done')!;
  const { validEntries, streamBytes, durationMs } = done as Record<string, number>;
  t.note(`${validEntries} valid entries, ${streamBytes} bytes, ${Math.round(durationMs!)} ms`);
}
