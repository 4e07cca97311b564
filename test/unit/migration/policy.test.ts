import { describe, expect, test } from 'vitest';
import {
  nextStep,
  predictStopMs,
  type PassReport,
  type PrecopyLimits,
} from '../../../lib/migration/policy.js';

/** A pass of a second in which the destination applied `bytes`, and the table was read in 100 ms. */
function passOf(
  pass: number,
  changedEntries: number | undefined,
  bytes: number,
  more: Partial<PassReport> = {},
): PassReport {
  return {
    pass,
    live: true,
    validEntries: changedEntries ?? 1000,
    invalidEntries: 0,
    bytes,
    changedEntries,
    durationMs: 1000,
    readMs: 100,
    idleMs: 0,
    confirmMs: 50,
    ...more,
  };
}

const LIMITS: PrecopyLimits = {
  downtimeMs: 400,
  maxPasses: 4,
  maxChangedEntries: 2 ** 32,
  whenNotConverging: 'stop',
  maxThrottleSteps: 2,
};

const FIRST = passOf(1, undefined, 722_500);
/** 850 bytes a millisecond, as the first pass. */
const quiet = passOf(2, 10, 8500, { durationMs: 160, readMs: 100, confirmMs: 50 });
const busy = passOf(2, 9000, 722_500);

describe('the stop time', () => {
  test('cannot be predicted before a pass has told what changes', () => {
    expect(predictStopMs([])).toBeUndefined();
    expect(predictStopMs([FIRST])).toBeUndefined();
    expect(predictStopMs([FIRST, passOf(2, undefined, 100)])).toBeUndefined();
  });

  test('is two scans, two confirmations, and what changes during a pass at the rate it is applied', () => {
    // In 1000 ms 8500 bytes had changed; so in 160 ms, 1360. At 850 bytes a millisecond: 1.6 ms.
    expect(predictStopMs([FIRST, quiet])).toBeCloseTo(2 * 150 + 1.6, 6);
    expect(predictStopMs([FIRST, busy])).toBeCloseTo(2 * 150 + 850, 6);
  });

  test('does not count time in which the bandwidth was not used', () => {
    const slow = passOf(1, undefined, 722_500, { durationMs: 21_000, idleMs: 20_000 });
    expect(predictStopMs([slow, passOf(2, 10, 8500, { durationMs: 21_000, idleMs: 20_840 })])).toBeCloseTo(
      310,
      6,
    );
  });

  test('takes the shortest scan for that of a clean table', () => {
    const again = { ...quiet, pass: 3, readMs: 40, durationMs: 100 };
    expect(predictStopMs([FIRST, quiet, again])!).toBeLessThan(2 * 90 + 10);
  });
});

describe('the policy', () => {
  test('goes on after the first pass, which cannot tell what changes', () => {
    expect(nextStep([], LIMITS, 0)).toBe('pass');
    expect(nextStep([FIRST], LIMITS, 0)).toBe('pass');
  });

  test('stops the guest as soon as it would stand still for no longer than it may', () => {
    expect(nextStep([FIRST, quiet], LIMITS, 0)).toBe('pause');
    expect(nextStep([FIRST, quiet], { ...LIMITS, downtimeMs: 301 }, 0)).toBe('pass');
    expect(nextStep([FIRST, busy], LIMITS, 0)).toBe('pass');
  });

  test('asks for few changes too, if it is told to', () => {
    expect(nextStep([FIRST, quiet], { ...LIMITS, maxChangedEntries: 9 }, 0)).toBe('pass');
    expect(nextStep([FIRST, quiet], { ...LIMITS, maxChangedEntries: 10 }, 0)).toBe('pause');
  });

  test('stops it at once if no live pass is allowed', () => {
    expect(nextStep([], { ...LIMITS, maxPasses: 0 }, 0)).toBe('pause');
  });

  const tooFast = [FIRST, busy, { ...busy, pass: 3 }, { ...busy, pass: 4 }];

  test.each([
    ['stop', 'pause'],
    ['give-up', 'give-up'],
    ['throttle', 'throttle'],
  ] as const)('with %s comes to %s when all passes are made', (whenNotConverging, step) => {
    expect(nextStep(tooFast.slice(0, 3), { ...LIMITS, whenNotConverging }, 0)).toBe('pass');
    expect(nextStep(tooFast, { ...LIMITS, whenNotConverging }, 0)).toBe(step);
  });

  test('throttles so often, and gives up when that does not help', () => {
    const limits: PrecopyLimits = { ...LIMITS, whenNotConverging: 'throttle' };
    expect([0, 1, 2].map((steps) => nextStep(tooFast, limits, steps))).toEqual([
      'throttle',
      'throttle',
      'give-up',
    ]);
    expect(nextStep([...tooFast, { ...quiet, pass: 5, durationMs: 160 }], limits, 1)).toBe('pause');
  });
});
