import type { DestinationRest, SourceRest } from '../../migration/rest.js';
import { formatBytes, formatDuration } from '../report/format.js';

/** What the last call of `finish` took, and gave. */
export interface FinishedRest {
  readonly stateBytes: number;
  readonly finishMs: number;
}

/** What the last call of `accept`, and that of `run`, took. */
export interface AcceptedRest {
  readonly stateBytes: number;
  readonly acceptMs: number;
  readonly runMs: number;
}

/** The rest of a guest at its source, measured. */
export class MeasuredSourceRest implements SourceRest {
  readonly stopMs: SourceRest['stopMs'];
  readonly finish: SourceRest['finish'];
  #finished: FinishedRest = { stateBytes: 0, finishMs: 0 };

  constructor(rest: SourceRest) {
    this.stopMs = rest.stopMs;
    this.finish = async (call) => {
      const begun = performance.now();
      const state = await rest.finish(call);
      this.#finished = { stateBytes: state?.length ?? 0, finishMs: performance.now() - begun };
      return state;
    };
  }

  get finished(): FinishedRest {
    return this.#finished;
  }
}

/** The rest of a guest at its destination, measured. */
export class MeasuredDestinationRest implements DestinationRest {
  readonly accept: DestinationRest['accept'];
  readonly discard: DestinationRest['discard'];
  readonly run: DestinationRest['run'];
  #accepted: AcceptedRest = { stateBytes: 0, acceptMs: 0, runMs: 0 };

  constructor(rest: DestinationRest) {
    this.discard = rest.discard;
    this.accept = async (state, call) => {
      const begun = performance.now();
      await rest.accept(state, call);
      const acceptMs = performance.now() - begun;
      this.#accepted = { stateBytes: state.length, acceptMs, runMs: 0 };
    };
    this.run = async () => {
      const begun = performance.now();
      await rest.run();
      this.#accepted = { ...this.#accepted, runMs: performance.now() - begun };
    };
  }

  get accepted(): AcceptedRest {
    return this.#accepted;
  }
}

/** `moved: 592 B of state, finished in 12 ms`. */
export function finishedText({ stateBytes, finishMs }: FinishedRest): string {
  return `moved: ${formatBytes(stateBytes)} of state, finished in ${formatDuration(finishMs)}`;
}

export function acceptedText({ stateBytes, acceptMs, runMs }: AcceptedRest): string {
  return (
    `moved: ${formatBytes(stateBytes)} of state, accepted in ${formatDuration(acceptMs)}, ` +
    `running after ${formatDuration(runMs)}`
  );
}
