import { afterEach, describe, expect, onTestFinished, test, vi } from 'vitest';
import { digestTable } from '../../lib/hpt/digest.js';
import type { SendOptions } from '../../lib/migration/source/send.js';
import { FarRest, slowReads, moveToEmptyRest } from './harness/far-rest.js';
import { valueOf } from './harness/move-guest.js';
import { digestOf, reasonOf, startGuest, useFakeTime } from './harness/test-guest.js';

afterEach(() => vi.useRealTimers());

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
  const ended = await moveToEmptyRest(guest, { send: { rest, ...send }, steps });
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
    const { sent, target, network } = await moveToEmptyRest(guest, {
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
  return moveToEmptyRest(guest, {
    send: { rest, scanShare: 0.001, timeoutMs },
    receive: { timeoutMs },
    steps: 0,
  });
}

test.each([0, 0.0009, 1.1, NaN, '0.03' as unknown as number])(
  'a scanShare of %o is refused',
  async (scanShare) => {
    const guest = await startGuest();
    const { sent } = await moveToEmptyRest(guest, { send: { scanShare } });
    expect(reasonOf(sent)).toMatchObject({ code: 'ERR_OUT_OF_RANGE', option: 'scanShare' });
  },
);
