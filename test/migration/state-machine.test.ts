import { expect, test } from 'vitest';
import { StateMachine } from '../../lib/migration/state-machine.js';

test('a state machine throws for a state that may not follow, and keeps its state', () => {
  const source = StateMachine.ofSource('m');
  source.become('copying');
  expect(() => source.become('committing')).toThrow(
    'a source in state copying cannot enter state committing',
  );
  expect(source.now).toBe('copying');
  const destination = StateMachine.ofDestination('m');
  destination.become('copying');
  expect(() => destination.become('committed')).toThrow(
    'a destination in state copying cannot enter state committed',
  );
});
