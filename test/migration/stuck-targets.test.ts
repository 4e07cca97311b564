import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { inDoubtError } from '../../lib/migration/errors.js';
import { receiveHpt } from '../../lib/migration/destination/receive.js';
import { sendHpt } from '../../lib/migration/source/send.js';
import { MemoryJournal } from '../../lib/migration/journal/memory-journal.js';
import type { EmulatedVm } from '../../lib/vm/emulated/emulated-vm.js';
import { power8, valueOf } from './harness/move-guest.js';
import { moveWhole } from './harness/move-whole.js';
import { Network } from './harness/network.js';
import { ORDER, reasonOf, settleInFakeTime, startGuest, useFakeTime } from './harness/test-guest.js';
import { only, TestRest } from './harness/test-rest.js';

beforeEach(useFakeTime);
afterEach(() => vi.useRealTimers());

describe('run', () => {
  test('is not kept back by a descriptor that does not close', async () => {
    const { sent, received, rest } = await moveWhole({}, { target: neverClosing() });
    expect(valueOf(received).digest()).toBe(valueOf(sent).digest());
    expect(rest.calls).toEqual(['finish', 'accept', 'run']);
  });
});

test('a doubt is said aloud, though a descriptor does not close', async () => {
  const journal = Object.assign(new MemoryJournal(), {
    decide: () => Promise.reject(inDoubtError('it is not known whether it was written', 'check the disk')),
  });
  const { received, rest } = await moveWhole(
    {},
    { receive: { journal }, send: { reconnectMs: 0 }, target: neverClosing() },
  );
  expect(reasonOf(received)).toMatchObject({ code: 'ERR_HTAB_IN_DOUBT' });
  expect(rest.calls).toEqual(['finish', 'accept']);
});

describe('a failed migration whose target', () => {
  const failing = { manner: only('accept', 'rejects') };

  test.each([
    ['has a descriptor that does not close', () => neverClosing()],
    ['does not get an empty table', () => neverEmptied()],
  ])('%s ends once the time for it is over, says so, and discards the rest', async (_, target) => {
    const { sent, received, guest, rest } = await moveWhole(failing, {
      target: target(),
      receive: { guestTimeoutMs: 5000 },
    });
    expect(reasonOf(received)).toMatchObject({
      code: 'ERR_HTAB_MIGRATION',
      message: expect.stringContaining('could not be emptied; do not run the target') as string,
      cause: {
        message: expect.stringMatching(/rest.accept failed.*; then: emptying .* within 5000 ms/) as string,
      },
    });
    expect((reasonOf(sent) as Error).message).toContain('could not be emptied');
    expect(guest).toMatchObject({ state: 'running', resumes: 1 });
    expect(rest.calls).toEqual(['finish', 'accept', 'discard']);
    expect(rest.discardedFor).toEqual([reasonOf(received)]);
  });

  test('is a descriptor that does not close has an empty table', async () => {
    const guest = await startGuest(500);
    const rest = new TestRest(failing);
    const vm = power8();
    await vm.allocateHpt(ORDER);
    const handle = Object.assign(await vm.openHtab({ access: 'write' }), { close: neverSettles });
    const network = new Network();
    const sending = sendHpt(guest.vm, network.connect, guest.options({ rest: rest.source }));
    const receiving = receiveHpt({ handle, order: ORDER, backend: 'emulated' }, network, {
      rest: rest.destination,
    });
    const [sent, received] = await settleInFakeTime(Promise.allSettled([sending, receiving]));
    expect((reasonOf(received) as Error).message).toContain('rest.accept failed');
    expect(reasonOf(sent)).toMatchObject({ code: 'ERR_HTAB_MIGRATION' });
    expect(vm.table!.validCount).toBe(0);
    expect(rest.times('discard')).toBe(1);
  });
});

const neverSettles = (): Promise<void> => new Promise(() => undefined);

function neverEmptied(): EmulatedVm {
  const vm = power8();
  const allocate = vm.allocateHpt.bind(vm);
  let tables = 0;
  vm.allocateHpt = (order) => (++tables > 1 ? neverSettles() : allocate(order));
  return vm;
}

function neverClosing(): EmulatedVm {
  const vm = power8();
  const open = vm.openHtab.bind(vm);
  vm.openHtab = async (options) => Object.assign(await open(options), { close: neverSettles });
  return vm;
}
