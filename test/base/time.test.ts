import { setTimeout as delay } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { within } from '../../lib/base/time.js';

test('what may take longer than a timer can wait is not given up at once', async () => {
  // As where two limits of the longest time allowed are added: node:timers makes 1 ms of it.
  const late = (): Error => new Error('given up');
  expect(await within(delay(20, 'done'), 2 * (2 ** 31 - 1), undefined, late)).toBe('done');
});
