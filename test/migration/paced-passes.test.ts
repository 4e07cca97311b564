import { afterEach, describe, expect, onTestFinished, test, vi } from 'vitest';
import { isHtabError } from '../../lib/base/errors.js';
import { digestTable } from '../../lib/hpt/digest.js';
import { channels, type ReconnectingEvent } from '../../lib/migration/events.js';
import type { SendOptions } from '../../lib/migration/source/send.js';
import type { HtabHandle } from '../../lib/vm/contract.js';
import { EMPTY_REST, FarRest, slowReads } from './harness/far-rest.js';
import { moveGuest, valueOf } from './harness/move-guest.js';
import type { Network } from './harness/network.js';
import { ReplacedGuest, type Access, type Change } from './harness/replaced-guest.js';
import { digestOf, reasonOf, startGuest, useFakeTime } from './harness/test-guest.js';

afterEach(() => vi.useRealTimers());

/** Moves a guest to a host that takes its rest too. */
function moveWhole(
  guest: Parameters<typeof moveGuest>[0],
  options: Parameters<typeof moveGuest>[1],
): ReturnType<typeof moveGuest> {
  return moveGuest(guest, { ...options, receive: { rest: EMPTY_REST, ...options?.receive } });
}

/** Moves a guest of 4000 steps with this rest. */
async function moveWith(
  rest: FarRest,
  {
    send = {},
    steps = 20,
    readMs = 0,
  }: { send?: Partial<SendOptions>; steps?: number; readMs?: number } = {},
) {
  const guest = await startGuest();
  useFakeTime();
  if (readMs > 0) slowReads(guest.vm, readMs);
  onTestFinished(rest.watch());
  const ended = await moveWhole(guest, { send: { rest, ...send }, steps });
  return { guest, ...ended };
}

describe('while the rest of a guest is far from done', () => {
  test('passes wait for their share of a CPU, and one is made at once when the rest is near', async () => {
    const rest = new FarRest((far) => {
      if (far.passes.length === 6 && far.askedSincePass === 3) far.ms = 0;
    });
    const { guest, sent, target } = await moveWith(rest, {
      send: { scanShare: 0.1, downtimeMs: 100_000, maxPasses: 2 },
      readMs: 100,
    });
    const { passes } = valueOf(sent);
    expect(passes[1]!.waitedMs).toBeGreaterThanOrEqual(1000);
    for (const pass of passes.slice(2, 6)) {
      const before = passes[pass.pass - 2]!;
      expect(pass.waitedMs).toBeGreaterThanOrEqual(9 * before.durationMs);
      // It is asked for twice a second.
      expect(pass.waitedMs).toBeLessThan(9 * before.durationMs + 1000);
    }
    expect(passes[6]!.waitedMs).toBeLessThan(2500);
    expect(passes[7]).toMatchObject({ waitedMs: 0, pass: 8 });
    expect(await digestOf(target)).toBe(digestTable(guest.vm.table!));
  });

  test('a pass is due after a second at the earliest', async () => {
    const rest = new FarRest((far) => {
      if (far.passes.length === 4) far.ms = 0;
    });
    const { sent } = await moveWith(rest, { send: { scanShare: 1 } });
    const waits = valueOf(sent).passes.slice(1, 4);
    expect(waits.every(({ waitedMs }) => waitedMs >= 1000 && waitedMs < 2000)).toBe(true);
  });

  test('passes do not count for maxPasses, nor throttle the guest, nor stop it', async () => {
    const steps: number[] = [];
    const rest = new FarRest((far) => {
      if (far.passes.length === 10) far.ms = 0;
    });
    const { sent, guest } = await moveWith(rest, {
      send: {
        maxPasses: 3,
        downtimeMs: 0,
        whenNotConverging: 'throttle',
        maxThrottleSteps: 2,
        throttle: (step) => {
          steps.push(step);
          return Promise.resolve();
        },
      },
    });
    expect(reasonOf(sent)).toMatchObject({ code: 'ERR_HTAB_MIGRATION' });
    expect(String(reasonOf(sent))).toContain('after 5 passes');
    // The tenth counts as well: after it the rest was near.
    expect(rest.passes).toHaveLength(14);
    expect(steps).toEqual([1, 2, 0]);
    expect(guest.pauses).toBe(0);
  });

  test("'stop' stops no guest whose rest is far", async () => {
    const rest = new FarRest((far) => {
      if (far.passes.length === 40) far.ms = 1;
    });
    const { sent, guest } = await moveWith(rest, { send: { maxPasses: 1, downtimeMs: 1 } });
    expect(valueOf(sent).passes.filter(({ live }) => live)).toHaveLength(40);
    expect(guest.pauses).toBe(1);
  });

  test('what the rest needs is part of the prediction', async () => {
    const rest = new FarRest();
    rest.ms = 200;
    const { sent } = await moveWith(rest, { send: { downtimeMs: 300, maxChangedEntries: 2 ** 32 } });
    const { predictedStopMs } = valueOf(sent);
    expect(predictedStopMs).toBeGreaterThanOrEqual(200);
    expect(predictedStopMs).toBeLessThanOrEqual(300);
  });

  test('a guest that does nothing for 2,048 passes and more still moves', async () => {
    const rest = new FarRest((far) => {
      if (far.passes.length === 2100) far.ms = 0;
    });
    const { guest, sent, target } = await moveWith(rest, { steps: 0 });
    expect(rest.passes.length).toBeGreaterThan(2100);
    // Only so many of them are kept.
    expect(valueOf(sent).passes.length).toBeLessThan(100);
    expect(await digestOf(target)).toBe(digestTable(guest.vm.table!));
  });

  test('a wait that is longer than a destination waits for work does not end it', async () => {
    // 0.1 s a pass at a thousandth of a CPU: 100 s and more between two passes; without work a destination waits 20 s.
    const rest = new FarRest((far) => {
      if (far.passes.length === 4) far.ms = 0;
    });
    const { sent, network } = await moveGuestWithTimeout(rest, 1000);
    expect(valueOf(sent).passes[2]!.waitedMs).toBeGreaterThan(60_000);
    expect(network.connections).toBe(1);
  });

  test('a connection that breaks costs a resend, and the wait goes on', async () => {
    const guest = await startGuest();
    useFakeTime();
    slowReads(guest.vm, 50);
    const rest = new FarRest((far) => {
      if (guest.state === 'running') guest.workload.step(100);
      if (far.passes.length === 12) far.ms = 0;
    });
    onTestFinished(rest.watch());
    const { sent, target, network } = await moveWhole(guest, {
      send: { rest, scanShare: 0.01 },
      wires: (connection) => ({
        fromSource: (bytes) => ({ bytes, cut: connection === 1 && rest.passes.length === 5 }),
      }),
    });
    expect(network.connections).toBe(2);
    expect(valueOf(sent).passes[0]).toMatchObject({ pass: 1, waitedMs: 0 });
    expect(guest.pauses).toBe(1);
    expect(await digestOf(target)).toBe(digestTable(guest.vm.table!));
  });

  test('only the signal ends the wait', async () => {
    const abort = new AbortController();
    const rest = new FarRest((far) => {
      if (far.asked === 20_000) abort.abort(new Error('enough'));
    });
    const { sent, guest } = await moveWith(rest, { steps: 0, readMs: 10, send: { signal: abort.signal } });
    expect(reasonOf(sent)).toMatchObject({ message: 'enough' });
    expect(guest.state).toBe('running');
    expect(guest.pauses).toBe(0);
  });
});

async function moveGuestWithTimeout(rest: FarRest, timeoutMs: number) {
  const guest = await startGuest();
  useFakeTime();
  slowReads(guest.vm, 100);
  onTestFinished(rest.watch());
  return moveWhole(guest, {
    send: { rest, scanShare: 0.001, timeoutMs },
    receive: { timeoutMs },
    steps: 0,
  });
}

test.each([0, 0.0009, 1.1, NaN, '0.03' as unknown as number])(
  'a scanShare of %o is refused',
  async (scanShare) => {
    const guest = await startGuest();
    const { sent } = await moveWhole(guest, { send: { scanShare } });
    expect(reasonOf(sent)).toMatchObject({ code: 'ERR_OUT_OF_RANGE', option: 'scanShare' });
  },
);

describe("a rest's stopMs", () => {
  test.each([
    ['throws', () => Promise.reject(new Error('no such VMM')), /stopMs failed/],
    ['gives NaN', () => NaN, /stopMs gave NaN/],
    ['gives less than 0', () => -1, /stopMs gave -1/],
    ['gives a text', () => '12' as unknown as number, /stopMs gave 12/],
    ['gives nothing', () => undefined as unknown as number, /stopMs gave undefined/],
    ['hangs', () => new Promise<number>(() => undefined), /stopMs did not settle within 5000 ms/],
  ])('that %s ends the migration, and the guest runs on', async (_name, stopMs, message) => {
    const guest = await startGuest();
    useFakeTime();
    const { sent } = await moveWhole(guest, {
      send: { rest: { stopMs, finish: () => Promise.resolve(undefined) }, guestTimeoutMs: 5000 },
    });
    const reason = reasonOf(sent);
    expect(isHtabError(reason)).toBe(true);
    expect(String(reason)).toMatch(message);
    expect(guest.state).toBe('running');
    expect(guest.pauses).toBe(0);
  });

  test('is not waited for once the connection has broken: the next one asks again', async () => {
    const guest = await startGuest();
    useFakeTime();
    const network: { now?: Network } = {};
    let asked = 0;
    const stopMs = (): number | Promise<number> => {
      if (++asked > 1) return 0;
      setTimeout(() => network.now!.channels[0]!.destroy(), 500);
      return new Promise(() => undefined);
    };
    const { sent, target } = await moveWhole(guest, {
      send: { rest: { stopMs, finish: () => Promise.resolve(undefined) } },
      begun: (begun) => (network.now = begun),
    });
    expect(valueOf(sent).attempts).toBe(2);
    expect(asked).toBeGreaterThan(1);
    expect(await digestOf(target)).toBe(digestTable(guest.vm.table!));
  });

  test('is not waited for once the signal has aborted', async () => {
    const guest = await startGuest();
    useFakeTime();
    const interrupt = new AbortController();
    const reason = new Error('enough');
    const stopMs = (): Promise<number> => {
      setTimeout(() => {
        interrupt.abort(reason);
      }, 500);
      return new Promise(() => undefined);
    };
    const { sent } = await moveWhole(guest, {
      send: { rest: { stopMs, finish: () => Promise.resolve(undefined) }, signal: interrupt.signal },
    });
    expect(reasonOf(sent)).toBe(reason);
    expect(guest).toMatchObject({ state: 'running', pauses: 0 });
  });

  test('is not asked of a guest that is paused already', async () => {
    const guest = await startGuest();
    await guest.pause();
    useFakeTime();
    const rest = new FarRest();
    const { sent } = await moveWhole(guest, {
      send: { rest, alreadyPaused: true, pause: undefined, resume: undefined },
    });
    expect(valueOf(sent).stopMs).toBeUndefined();
    expect(rest.asked).toBe(0);
  });
});

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
    const { sent, target } = await moveWhole(guest, {
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
    const { sent } = await moveWhole(guest, {
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
  const { sent, target } = await moveWhole(guest, { send: { rest, scanShare: 0.01 } });
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
