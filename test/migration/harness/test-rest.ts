import type { SeededRandom } from '../../../lib/base/random.js';
import type { DestinationRest, RestCall, SourceRest } from '../../../lib/migration/rest.js';

/**
 * How a call goes. `late`: it settles after a minute, whatever its signal says; `obeys`: it goes on until its signal aborts, and
 * rejects; `plain`: it gives no promise.
 */
export type Manner = 'well' | 'rejects' | 'throws' | 'hangs' | 'late' | 'obeys' | 'plain';
export type RestCallName = 'finish' | 'accept' | 'discard' | 'run';

/** One call of the agent's goes in this manner, the first time or always. */
export const only =
  (name: RestCallName, manner: Manner, nth = Infinity) =>
  (called: RestCallName, number: number): Manner =>
    called === name && number <= nth ? manner : 'well';

const LATE_MS = 60_000;

export interface TestRestOptions {
  /** How the nth call, from 1, of a function goes; default: well. */
  readonly manner?: (name: RestCallName, nth: number) => Manner;
  /** What `finish` gives beside the number of its call, in bytes; undefined: it gives nothing. */
  readonly stateBytes?: number | undefined;
}

/** The rest of a guest on both hosts: it does what a test says, and knows how it must be called. */
export class TestRest {
  /** Every call, in order. */
  readonly calls: RestCallName[] = [];
  /** What must not be and was. */
  readonly violations: string[] = [];
  readonly signals: AbortSignal[] = [];
  readonly deadlines: number[] = [];
  readonly discardedFor: unknown[] = [];
  /** What the last `finish` gave. */
  given: Uint8Array | undefined;
  /** What is in its place at the destination. */
  accepted: Uint8Array | undefined;
  readonly #options: TestRestOptions;
  readonly #going = new Set<RestCallName>();

  constructor(options: TestRestOptions = {}) {
    this.#options = options;
  }

  readonly source: SourceRest = {
    stopMs: () => 0,
    finish: (call) => {
      this.deadlines.push(call.deadlineMs);
      return this.#call('finish', call, () => {
        this.given = this.#state(this.times('finish'));
        return this.given;
      });
    },
  };

  readonly destination: DestinationRest = {
    accept: (state, call) => {
      const same = Buffer.from(state).equals(this.given ?? new Uint8Array(0));
      this.#check(same, 'another state than the one given is accepted');
      return this.#call('accept', call, () => {
        if (!call.signal.aborted) this.accepted = state;
      });
    },
    discard: (reason) => {
      this.#check(this.times('run') === 0, 'what runs is discarded');
      this.discardedFor.push(reason);
      return this.#call('discard', undefined, () => {
        this.accepted = undefined;
      });
    },
    run: () => {
      this.#check(this.times('discard') === 0, 'what was discarded runs');
      this.#check(this.accepted !== undefined, 'a guest that is not whole runs');
      return this.#call('run', undefined, () => undefined);
    },
  };

  /** An error thrown within a call would be taken for the agent's own. */
  #check(holds: boolean, what: string): void {
    if (!holds) this.violations.push(what);
  }

  times(name: RestCallName): number {
    return this.calls.filter((called) => called === name).length;
  }

  #state(nth: number): Uint8Array | undefined {
    const { stateBytes } = this.#options;
    return stateBytes === undefined ? undefined : new Uint8Array(stateBytes).fill(nth);
  }

  #call<T>(name: RestCallName, call: RestCall | undefined, then: () => T): Promise<T> {
    this.#check(!this.#going.has(name), `${name} is called while it goes on`);
    this.calls.push(name);
    if (call !== undefined) this.signals.push(call.signal);
    const manner = this.#options.manner?.(name, this.times(name)) ?? 'well';
    if (manner === 'throws') throw new Error(`${name} has thrown`);
    if (manner === 'plain') return then() as Promise<T>;
    this.#going.add(name);
    return this.#settle(name, manner, call?.signal)
      .then(then)
      .finally(() => this.#going.delete(name));
  }

  async #settle(name: RestCallName, manner: Manner, signal: AbortSignal | undefined): Promise<void> {
    if (manner === 'rejects') throw new Error(`${name} has failed`);
    if (manner === 'late') await new Promise((resolve) => setTimeout(resolve, LATE_MS));
    if (manner === 'hangs') await new Promise(() => undefined);
    if (manner === 'obeys') {
      await new Promise((resolve) => signal?.addEventListener('abort', resolve));
      throw new Error(`${name} was given up`);
    }
  }
}

/**
 * A rest of which one call, or none, goes wrong: the first time, or always.
 *
 * @param die ends the process in which this call is made
 */
export function randomRest(
  random: SeededRandom,
  die: (name: RestCallName) => void,
): { readonly name: string; readonly rest: TestRest } {
  const pick = <T>(values: readonly T[]): T => values[random.below(values.length)]!;
  const victim = pick<RestCallName>(['finish', 'finish', 'accept', 'accept', 'discard', 'run']);
  const fate = pick<Manner | 'dies'>([
    'well',
    'well',
    'rejects',
    'throws',
    'hangs',
    'late',
    'obeys',
    'plain',
    'dies',
  ]);
  const manner = fate === 'dies' ? 'hangs' : fate;
  const times = pick([1, Infinity]);
  const rest = new TestRest({
    manner: (name, nth) => {
      if (name !== victim || nth > times) return 'well';
      if (fate === 'dies') die(name);
      return manner;
    },
    stateBytes: pick([undefined, 0, 1, 5000, 2 ** 20 + 1]),
  });
  return { name: fate === 'well' ? 'a whole guest' : `${victim} ${fate}`, rest };
}
