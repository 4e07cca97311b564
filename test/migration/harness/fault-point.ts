import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import type { StateEvent } from '../../../lib/migration/events.js';
import type { Side } from '../../../lib/migration/journal/journal.js';
import type { MessageType } from '../../../lib/migration/wire/messages.js';
import type { DestinationState, SourceState } from '../../../lib/migration/states.js';
import type { Wire } from './linked-streams.js';
import type { Wires } from './network.js';
import { frameWire } from './faulty-wire.js';
import type { TwoHosts } from './two-hosts.js';
import type { TwoHostsOptions } from './two-hosts-options.js';

export type State = SourceState | DestinationState;

/**
 * Where one thing happens once: a side's state. It records how that side came there, and where it went from there.
 */
export class FaultPoint {
  readonly side: Side;
  readonly state: State;
  /** States that the side has come to since it happened. */
  readonly after: State[] = [];
  /** On the way to `asking`: the commit gets lost, not its acknowledgement. */
  losesCommit = false;
  hosts!: TwoHosts;
  #now: State | undefined;
  #struck = false;
  #action: (() => void) | undefined;

  constructor(side: Side, state: State) {
    this.side = side;
    this.state = state;
  }

  get struck(): boolean {
    return this.#struck;
  }

  /** Whether the side is where it is to happen, and it has not happened. */
  get isNow(): boolean {
    return !this.#struck && this.#now === this.state;
  }

  readonly strike = (): void => {
    this.#struck = true;
  };

  /** Lets it happen as soon as the side comes to the state. */
  onArrival(action: () => void): void {
    this.#action = action;
  }

  /** Lets one message that the other side sends in this state suffer. */
  wires(due: MessageType, fault: Parameters<typeof frameWire>[1]): Pick<TwoHostsOptions, 'wires'> {
    const direction = this.side === 'source' ? 'fromDestination' : 'fromSource';
    return {
      wires: (number) => {
        const way = this.#way(number);
        const wire = frameWire((type) => this.isNow && type === due, fault, this.strike);
        return { ...way, [direction]: chain(way[direction], wire) };
      },
    };
  }

  /** What leads to the state, where a migration that goes well does not. */
  get way(): Pick<TwoHostsOptions, 'wires'> {
    return { wires: (number) => this.#way(number) };
  }

  #way(number: number): Wires {
    if (number > 1) return {};
    const loses = (due: MessageType): Wire => frameWire((type) => type === due, 'reset-before');
    if (this.state === 'waiting') return { fromSource: loses('prepare') };
    if (this.state !== 'asking') return {};
    return this.losesCommit ? { fromSource: loses('commit') } : { fromDestination: loses('committed') };
  }

  /**
   * Follows the side while this runs.
   *
   * @param check called whenever it comes to a state
   */
  async watch<T>(hosts: TwoHosts, check: (state: State) => void, run: () => Promise<T>): Promise<T> {
    this.hosts = hosts;
    const listener = (event: unknown): void => {
      const { side, state } = event as StateEvent;
      if (side !== this.side) return;
      this.#now = state;
      if (this.#struck) this.after.push(state);
      check(state);
      if (!this.isNow || this.#action === undefined) return;
      this.#struck = true;
      this.#action();
    };
    subscribe('kvm-htab:state', listener);
    try {
      return await run();
    } finally {
      unsubscribe('kvm-htab:state', listener);
    }
  }
}

function chain(first: Wire | undefined, second: Wire): Wire {
  if (first === undefined) return second;
  return (chunk, offset) => {
    const { bytes, cut = false } = first(chunk, offset);
    const passed = second(bytes, offset);
    return { bytes: passed.bytes, cut: cut || passed.cut === true };
  };
}
