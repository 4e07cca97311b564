import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { HtabStateError } from '../../lib/base/errors.js';
import { receiveHpt, type ReceiveOptions } from '../../lib/migration/destination/receive.js';
import { sendHpt } from '../../lib/migration/source/send.js';
import { FaultScript } from '../../lib/testing/faults.js';
import { cutAfter, linkStreams } from './harness/linked-streams.js';
import {
  ORDER,
  digestOf,
  reasonOf,
  settleInFakeTime,
  startGuest,
  useFakeTime,
} from './harness/test-guest.js';
import { Network } from './harness/network.js';
import { moveGuest, power8 } from './harness/move-guest.js';

beforeEach(useFakeTime);
afterEach(() => vi.useRealTimers());

describe('adopted descriptors', () => {
  test('move a table from one to the other, and are closed', async () => {
    const guest = await startGuest();
    const target = power8();
    await target.allocateHpt(ORDER);
    target.hcall(0x08, [1n << 39n, 9n, 0x1001n, 0x190n]);
    const script = new FaultScript();
    const source = {
      handle: script.wrapHandle(await guest.vm.openHtab()),
      order: ORDER,
      backend: 'emulated',
    } as const;
    const handle = await target.openHtab({ access: 'write' });
    const openRead = () => target.openHtab();
    const [ours, theirs] = linkStreams();
    const [sent] = await settleInFakeTime(
      Promise.all([
        sendHpt(source, ours, guest.options()),
        receiveHpt({ handle, order: ORDER, backend: 'emulated', openRead }, theirs),
      ]),
    );
    expect(await digestOf(target)).toBe(sent.digest());
    await expect(source.handle.read(new Uint8Array(64))).rejects.toBeInstanceOf(HtabStateError);
    await expect(handle.write(new Uint8Array(8))).rejects.toBeInstanceOf(HtabStateError);
  });

  test('are closed though no connection was ever made, or what was asked for cannot be', async () => {
    const guest = await startGuest(10);
    const target = power8();
    await target.allocateHpt(ORDER);
    const source = async () => ({ handle: await guest.vm.openHtab(), order: ORDER });
    const sink = async () => ({ handle: await target.openHtab({ access: 'write' }), order: ORDER });
    const nowhere = (): Promise<never> => Promise.reject(new Error('no route'));
    const tables = [await source(), await source(), await sink(), await sink()] as const;
    await settleInFakeTime(
      Promise.allSettled([
        sendHpt(tables[0], nowhere, guest.options({ maxReconnects: 0 })),
        sendHpt(tables[1], nowhere, guest.options({ maxPasses: -1 })),
        receiveHpt(tables[2], linkStreams()[0], { maxOrder: 7 }),
        receiveHpt({ ...tables[3], order: 7 }, linkStreams()[0]),
      ]),
    );
    for (const { handle } of tables) {
      const bytes = new Uint8Array(64);
      const used = handle.access === 'read' ? handle.read(bytes) : handle.write(bytes);
      await expect(used).rejects.toMatchObject({ state: 'closed' });
    }
  });

  test('of a table of another order are refused, and nothing is written', async () => {
    const guest = await startGuest();
    const target = power8();
    await target.allocateHpt(ORDER + 1);
    const script = new FaultScript();
    const handle = script.wrapHandle(await target.openHtab({ access: 'write' }));
    const [ours, theirs] = linkStreams();
    const [, received] = await settleInFakeTime(
      Promise.allSettled([
        sendHpt(guest.vm, ours, guest.options()),
        receiveHpt({ handle, order: ORDER + 1, backend: 'emulated' }, theirs),
      ]),
    );
    expect((reasonOf(received) as Error).message).toBe("the source's table has order 18, the target's 19");
    expect(script.calls('write')).toBe(0);
  });

  test('that fail leave the target empty', async () => {
    const guest = await startGuest();
    const target = power8();
    await target.allocateHpt(ORDER);
    const handle = await target.openHtab({ access: 'write' });
    const [ours, theirs] = linkStreams(cutAfter(12_000));
    const [, received] = await settleInFakeTime(
      Promise.allSettled([
        sendHpt(guest.vm, ours, guest.options()),
        receiveHpt({ handle, order: ORDER, backend: 'emulated' }, theirs),
      ]),
    );
    expect(received.status).toBe('rejected');
    expect(target.table!.validCount).toBe(0);
  });

  test('that were read from before are found out by the first pass', async () => {
    const guest = await startGuest();
    const handle = await guest.vm.openHtab();
    await handle.read(new Uint8Array(4096));
    const [ours, theirs] = linkStreams();
    const [sent] = await settleInFakeTime(
      Promise.allSettled([
        sendHpt({ handle, order: ORDER, backend: 'emulated' }, ours, guest.options()),
        receiveHpt(power8(), theirs),
      ]),
    );
    expect((reasonOf(sent) as Error).message).toMatch(
      /^the first pass named \d+ of the table's 16384 entries/,
    );
    expect(guest.pauses).toBe(0);
  });

  test('that cannot be opened again are not read twice: that is refused before anything is said', async () => {
    const guest = await startGuest(100);
    const [ours, theirs] = linkStreams();
    const handle = await guest.vm.openHtab();
    await expect(
      sendHpt({ handle, order: ORDER, backend: 'emulated' }, ours, guest.options({ recheckSource: true })),
    ).rejects.toThrow(RangeError);
    expect([theirs.readableLength, guest.pauses]).toEqual([0, 0]);
    await handle.close();
  });

  test('of the wrong kind, and a read-back that cannot be made, are refused before anything is said', async () => {
    const guest = await startGuest(0);
    const [ours] = linkStreams();
    const handle = await guest.vm.openHtab({ access: 'write' });
    await expect(sendHpt({ handle, order: ORDER }, ours, guest.options())).rejects.toThrow(TypeError);
    await expect(receiveHpt({ handle, order: ORDER }, ours, { readBack: true })).rejects.toThrow(
      '"readBack"',
    );
    await expect(receiveHpt({ handle, order: 40 }, ours)).rejects.toThrow(RangeError);
    expect(ours.destroyed).toBe(false);
  });
});

describe('a table that cannot be', () => {
  test.each<[string, ReceiveOptions, RegExp]>([
    ['no valid entry', {}, /has 0 valid entries; at least 1 are expected of a guest that has run/],
    [
      'no bolted entry',
      { minEntries: 0, minBoltedEntries: 2 },
      /has 0 bolted entries; at least 2 are expected/,
    ],
  ])('with %s is refused before the guest is paused', async (_, receive, message) => {
    const guest = await startGuest(0);
    const { received } = await moveGuest(guest, { receive, steps: 0 });
    expect((reasonOf(received) as Error).message).toMatch(message);
    expect(guest.pauses).toBe(0);
  });

  test('of pages that the host cannot map is refused before any of it is written', async () => {
    const guest = await startGuest();
    const script = new FaultScript();
    const target = power8();
    const network = new Network();
    const receiving = receiveHpt(script.wrapVm(target), network, { pageShifts: [12, 24], host: 'power8' });
    const sending = sendHpt(guest.vm, network.connect, guest.options());
    const [, received] = await settleInFakeTime(Promise.allSettled([sending, receiving]));
    expect((reasonOf(received) as Error).message).toMatch(/maps a page of 65536 bytes; the destination/);
    expect(script.calls('write')).toBe(0);
    network.close();
  });
});
