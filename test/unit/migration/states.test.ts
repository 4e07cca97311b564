import { expect, test } from 'vitest';
import { States } from '../../../lib/migration/states.js';

test('a side goes only where its table lets it', () => {
  const source = States.ofSource('m');
  source.become('copying');
  expect(() => source.become('committing')).toThrow('a source that is copying cannot be committing');
  expect(source.now).toBe('copying');
  const destination = States.ofDestination('m');
  destination.become('copying');
  expect(() => destination.become('committed')).toThrow('a destination that is copying cannot be committed');
});
