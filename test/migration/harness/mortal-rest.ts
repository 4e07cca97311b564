import type { DestinationRest, SourceRest } from '../../../lib/migration/rest.js';
import type { MortalProcess } from './mortal-process.js';
import type { TestRest } from './test-rest.js';

/** The rest of a guest as an agent has it that can be killed. */
export function mortalSource(life: MortalProcess, { source }: TestRest): SourceRest {
  return {
    stopMs: source.stopMs,
    finish: (call) => life.call(() => source.finish(call)),
  };
}

export function mortalDestination(life: MortalProcess, { destination }: TestRest): DestinationRest {
  return {
    accept: (state, call) => life.call(() => destination.accept(state, call)),
    discard: (reason) => life.call(() => destination.discard(reason)),
    run: () => life.call(() => destination.run()),
  };
}
