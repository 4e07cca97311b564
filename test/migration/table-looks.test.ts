import { afterEach, describe, expect, onTestFinished, test, vi } from 'vitest';
import { digestTable } from '../../lib/hpt/digest.js';
import { channels, type ReconnectingEvent } from '../../lib/migration/events.js';
import type { HtabHandle } from '../../lib/vm/contract.js';
import { FarRest, slowReads, moveToEmptyRest } from './harness/far-rest.js';
import { valueOf } from './harness/move-guest.js';
import { ReplacedGuest, type Access, type Change } from './harness/replaced-guest.js';
import { digestOf, reasonOf, startGuest, useFakeTime } from './harness/test-guest.js';

afterEach(() => vi.useRealTimers());

const GONE: readonly Change[] = ['radix', 'ALLOCATE of the same order', 'rehash 20 -> 20', 'grow', 'shrink'];
const REOPENED: readonly Access[] = ['VM', 'descriptor + reopen'];

describe('a table that goes between two passes', () => {
  const cells = GONE.flatMap((change) => REOPENED.map((access) => ({ change, access })));

  test.each(cells)('is noticed in time: $change, $access', async ({ change, access }) => {
    const guest = await ReplacedGuest.start(change, 'when told');
    useFakeTime();
    slowReads(guest.vm, 300);
    let replacedAt = 0;
    let passesBefore = 0;
    const rest = new FarRest(async (far) => {
      if (far.passes.length < 2 || far.askedSincePass < 3 || guest.changed) return;
      passesBefore = far.passes.length;
      replacedAt = performance.now();
      await guest.replace();
    });
    onTestFinished(rest.watch());
    const noticed: { at: number; passes: number; error: unknown }[] = [];
    const notice = (error: unknown): void => {
      noticed.push({ at: performance.now(), passes: rest.passes.length, error });
      rest.ms = 0;
    };
    const onReconnecting = ({ error }: ReconnectingEvent): void => {
      notice(error);
    };
    channels.reconnecting.subscribe(onReconnecting);
    onTestFinished(() => {
      channels.reconnecting.unsubscribe(onReconnecting);
    });
    const { sent, target } = await moveToEmptyRest(guest, {
      source: await guest.source(access),
      send: { ...guest.watch(), host: 'power9', rest, scanShare: 0.01, frameBytes: 2 ** 20 },
    });
    if (sent.status === 'rejected') notice(sent.reason);

    expect(guest.changed).toBe(true);
    const { at, passes, error } = noticed[0]!;
    expect(String(error)).toMatch(/radix|was reset or its table resized/);
    // Two seconds, the turns of the fake clock, and a pass where only that tells.
    const sameOrder = change === 'rehash 20 -> 20' || change === 'ALLOCATE of the same order';
    expect(at - replacedAt).toBeLessThan(sameOrder ? 8000 : 4000);
    expect(passes - passesBefore).toBe(sameOrder ? 1 : 0);
    expect(guest.state).toBe(sent.status === 'fulfilled' ? 'paused' : 'running');
    if (sent.status === 'fulfilled') {
      expect(await digestOf(target)).toBe(digestTable(guest.vm.table!));
    }
  });

  test('is noticed as radix by descriptors that begin at entry 0 only', async () => {
    const guest = await ReplacedGuest.start('radix', 'when told');
    useFakeTime();
    const rest = new FarRest(async (far) => {
      if (far.passes.length === 3) await guest.replace();
    });
    onTestFinished(rest.watch());
    const { sent } = await moveToEmptyRest(guest, {
      source: await guest.source('descriptor + reopen from 0 only'),
      send: { ...guest.watch(), host: 'power9', rest },
    });
    expect(reasonOf(sent)).toMatchObject({ code: 'ERR_HTAB_UNAVAILABLE', reason: 'no-table' });
  });
});

test('a look loses no change of the guest, whichever reader takes its mark', async () => {
  const guest = await startGuest();
  useFakeTime();
  slowReads(guest.vm, 50);
  const looks = watchLooks(guest.vm);
  const rest = new FarRest((far) => {
    if (guest.state === 'running') guest.workload.step(400);
    if (looks.count > 400) far.ms = 0;
  });
  onTestFinished(rest.watch());
  const { sent, target } = await moveToEmptyRest(guest, { send: { rest, scanShare: 0.01 } });
  expect(valueOf(sent).sourceRechecked).toBe(true);
  expect(looks.count).toBeGreaterThan(400);
  expect(await digestOf(target)).toBe(digestTable(guest.vm.table!));
});

/** Counts the reads of fresh descriptors. */
function watchLooks(vm: { openHtab: (options?: object) => Promise<HtabHandle> }): { count: number } {
  const looks = { count: 0 };
  const open = vm.openHtab.bind(vm);
  vm.openHtab = async (options) => {
    const handle = await open(options);
    const read = handle.read.bind(handle);
    handle.read = (buffer) => {
      if (buffer.length < 4096) looks.count++;
      return read(buffer);
    };
    return handle;
  };
  return looks;
}
