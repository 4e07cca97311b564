import { describe, expect, test } from 'vitest';
import { keepReport, type PassReport } from '../../lib/precopy/pass-report.js';
import {
  nextStep as nextStepOf,
  predictStopMs,
  type NextStep,
  type PrecopyLimits,
} from '../../lib/precopy/policy.js';

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
    waitedMs: 0,
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

/** After passes that all count, with a rest that is done. */
function nextStep(passes: readonly PassReport[], limits: PrecopyLimits, throttleSteps: number): NextStep {
  return nextStepOf({ passes, counted: passes, restMs: 0, throttleSteps }, limits);
}

describe('predictStopMs', () => {
  test('is undefined before a pass shows what changes', () => {
    expect(predictStopMs([])).toBeUndefined();
    expect(predictStopMs([FIRST])).toBeUndefined();
    expect(predictStopMs([FIRST, passOf(2, undefined, 100)])).toBeUndefined();
  });

  test('adds two scans, two confirmations, and the changes of a pass at the rate they are applied', () => {
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

  test('takes the shortest scan as that of a clean table', () => {
    const again = { ...quiet, pass: 3, readMs: 40, durationMs: 100 };
    expect(predictStopMs([FIRST, quiet, again])!).toBeLessThan(2 * 90 + 10);
  });

  test('takes what a pass found after a wait as what may change again within one pass', () => {
    // Found in 1000 + 9000 ms, as the same entries may change in each of them.
    expect(predictStopMs([FIRST, { ...quiet, waitedMs: 9000 }])).toBeCloseTo(2 * 150 + 10, 6);
    // The next pass follows at once, and tells how fast they do.
    const next = { ...quiet, pass: 3, bytes: 850, durationMs: 160 };
    expect(predictStopMs([FIRST, { ...quiet, waitedMs: 9000 }, next])).toBeCloseTo(2 * 150 + 1, 1);
  });

  test('scales up what a pass found that took longer than the wait before it', () => {
    const long = { ...busy, waitedMs: 1000, durationMs: 4000 };
    expect(predictStopMs([FIRST, long])).toBeGreaterThan(
      predictStopMs([FIRST, { ...long, waitedMs: 3000 }])!,
    );
  });
});

describe('keepReport', () => {
  test('keeps 64 reports of passes after a wait, and all others', () => {
    const reports: PassReport[] = [];
    const wait = { waitedMs: 1000 };
    keepReport(reports, FIRST);
    for (let pass = 2; pass < 102; pass++) keepReport(reports, passOf(pass, 1, 20, wait));
    for (let pass = 102; pass < 202; pass++) keepReport(reports, passOf(pass, 1, 20));
    expect(reports.map(({ pass }) => pass)).toEqual([1, ...Array.from({ length: 164 }, (_, k) => 38 + k)]);
  });
});

describe('nextStep', () => {
  test('makes another pass after the first, which does not show what changes', () => {
    expect(nextStep([], LIMITS, 0)).toBe('pass');
    expect(nextStep([FIRST], LIMITS, 0)).toBe('pass');
  });

  test('pauses the guest as soon as the predicted stop is within downtimeMs', () => {
    expect(nextStep([FIRST, quiet], LIMITS, 0)).toBe('pause');
    expect(nextStep([FIRST, quiet], { ...LIMITS, downtimeMs: 301 }, 0)).toBe('pass');
    expect(nextStep([FIRST, busy], LIMITS, 0)).toBe('pass');
  });

  test('also waits for maxChangedEntries where it is set', () => {
    expect(nextStep([FIRST, quiet], { ...LIMITS, maxChangedEntries: 9 }, 0)).toBe('pass');
    expect(nextStep([FIRST, quiet], { ...LIMITS, maxChangedEntries: 10 }, 0)).toBe('pause');
  });

  test('pauses the guest at once if no live pass is allowed', () => {
    expect(nextStep([], { ...LIMITS, maxPasses: 0 }, 0)).toBe('pause');
  });

  const tooFast = [FIRST, busy, { ...busy, pass: 3 }, { ...busy, pass: 4 }];

  test.each([
    ['stop', 'pause'],
    ['give-up', 'give-up'],
    ['throttle', 'throttle'],
  ] as const)('with %s answers %s when all passes are made', (whenNotConverging, step) => {
    expect(nextStep(tooFast.slice(0, 3), { ...LIMITS, whenNotConverging }, 0)).toBe('pass');
    expect(nextStep(tooFast, { ...LIMITS, whenNotConverging }, 0)).toBe(step);
  });

  test('throttles maxThrottleSteps times, then gives up', () => {
    const limits: PrecopyLimits = { ...LIMITS, whenNotConverging: 'throttle' };
    expect([0, 1, 2].map((steps) => nextStep(tooFast, limits, steps))).toEqual([
      'throttle',
      'throttle',
      'give-up',
    ]);
    expect(nextStep([...tooFast, { ...quiet, pass: 5, durationMs: 160 }], limits, 1)).toBe('pause');
  });

  test('makes no more passes after 512 in a row without a change, however many are allowed', () => {
    const idle = (count: number): PassReport[] => [
      FIRST,
      ...Array.from({ length: count }, (_, index) => passOf(index + 2, 0, 0, { validEntries: 0 })),
    ];
    const limits: PrecopyLimits = { ...LIMITS, downtimeMs: 0, maxPasses: 1_000_000 };
    expect(nextStep(idle(511), limits, 0)).toBe('pass');
    expect(nextStep(idle(512), limits, 0)).toBe('pause');
    expect(nextStep(idle(512), { ...limits, whenNotConverging: 'throttle' }, 0)).toBe('give-up');
  });

  test('adds what the rest needs to the prediction', () => {
    const progress = { passes: [FIRST, quiet], counted: [FIRST, quiet], throttleSteps: 0 };
    expect(nextStepOf({ ...progress, restMs: 98 }, LIMITS)).toBe('pause');
    expect(nextStepOf({ ...progress, restMs: 99 }, LIMITS)).toBe('pass');
  });

  test('counts only the passes that could have led to the stop', () => {
    const progress = { passes: tooFast, restMs: 0, throttleSteps: 0 };
    const limits: PrecopyLimits = { ...LIMITS, whenNotConverging: 'give-up' };
    expect(nextStepOf({ ...progress, counted: tooFast.slice(1) }, limits)).toBe('pass');
    expect(nextStepOf({ ...progress, counted: tooFast }, limits)).toBe('give-up');
  });
});
