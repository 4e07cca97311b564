import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import type { DestinationRest, SourceRest } from '../../lib/migration/rest.js';
import { frameWire } from './harness/faulty-wire.js';
import type { Wire } from './harness/linked-streams.js';
import { moveGuest, valueOf } from './harness/move-guest.js';
import { startGuest, useFakeTime } from './harness/test-guest.js';

beforeEach(useFakeTime);
afterEach(() => vi.useRealTimers());

const EMPTY: SourceRest = { stopMs: () => 0, finish: () => Promise.resolve(undefined) };
const THERE: DestinationRest = {
  accept: () => Promise.resolve(),
  discard: () => Promise.reject(new Error('it has moved')),
  run: () => Promise.resolve(),
};

/** The frames of one migration in the order in which they were sent, from the moment the guest stands still. */
async function framesOfStop(send: object, receive: object): Promise<string[]> {
  const frames: string[] = [];
  const watch = (side: string): Wire =>
    frameWire((type) => {
      if (guest.state === 'paused') frames.push(`${side} ${type}`);
      return false;
    }, 'none');
  const guest = await startGuest(500);
  const { sent } = await moveGuest(guest, {
    send,
    receive,
    wires: () => ({ fromSource: watch('source'), fromDestination: watch('destination') }),
  });
  expect(valueOf(sent).attempts).toBe(1);
  return frames;
}

test('an empty rest adds no frame to the stop, and no round trip', async () => {
  const alone = await framesOfStop({}, {});
  const whole = await framesOfStop({ rest: EMPTY }, { rest: THERE });
  expect(alone.slice(-4)).toEqual([
    'source prepare',
    'destination prepared',
    'source commit',
    'destination committed',
  ]);
  expect(whole).toEqual(alone);
});

test('a state adds its frames, and no round trip', async () => {
  const finish = (): Promise<Uint8Array> => Promise.resolve(new Uint8Array(2 ** 20 + 1));
  const alone = await framesOfStop({}, {});
  const whole = await framesOfStop({ rest: { ...EMPTY, finish } }, { rest: THERE });
  expect(whole.filter((frame) => frame !== 'source state')).toEqual(alone);
  expect(whole.slice(-6, -4)).toEqual(['source state', 'source state']);
});
