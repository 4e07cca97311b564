import { describe, expect, test } from 'vitest';
import { changedEntries, shouldPause, type PassReport } from '../../../lib/migration/policy.js';

function passOf(pass: number, changed: number): PassReport {
  const removed = Math.floor(changed / 3);
  return {
    pass,
    live: true,
    validEntries: changed - removed,
    invalidEntries: removed,
    bytes: 24 * changed,
    durationMs: 1,
  };
}

const limits = { maxPasses: 4, maxChangedEntries: 10 };

describe('the policy', () => {
  test('goes on after the first pass, which cannot tell what changes', () => {
    expect(changedEntries(passOf(1, 3))).toBeUndefined();
    expect(shouldPause([passOf(1, 3)], limits)).toBe(false);
  });

  test('stops the guest after a pass with few changes, counting removed entries too', () => {
    expect(changedEntries(passOf(2, 10))).toBe(10);
    expect(shouldPause([passOf(1, 9000), passOf(2, 11)], limits)).toBe(false);
    expect(shouldPause([passOf(1, 9000), passOf(2, 10)], limits)).toBe(true);
  });

  test('stops it after the last pass allowed, however many changes there are', () => {
    const passes = [passOf(1, 9000), passOf(2, 8000), passOf(3, 8000)];
    expect(shouldPause(passes, limits)).toBe(false);
    expect(shouldPause([...passes, passOf(4, 8000)], limits)).toBe(true);
  });

  test('stops it at once if no live pass is allowed', () => {
    expect(shouldPause([], limits)).toBe(false);
    expect(shouldPause([], { ...limits, maxPasses: 0 })).toBe(true);
  });
});
