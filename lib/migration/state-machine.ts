import { channels } from './events.js';
import type { Side } from './journal/journal.js';
import { DESTINATION_STATES, SOURCE_STATES } from './states.js';
import type { Allowed, DestinationState, SourceState } from './states.js';

/** The state of one side of one migration. It changes only as `states.ts` allows. */
export class StateMachine<State extends SourceState | DestinationState> {
  readonly migrationId: string;
  readonly #side: Side;
  readonly #allowed: Allowed<State>;
  #now: State;

  private constructor(side: Side, migrationId: string, allowed: Allowed<State>, first: State) {
    this.#side = side;
    this.migrationId = migrationId;
    this.#allowed = allowed;
    this.#now = first;
  }

  static ofSource(migrationId: string): StateMachine<SourceState> {
    return new StateMachine('source', migrationId, SOURCE_STATES, 'connecting');
  }

  static ofDestination(migrationId: string): StateMachine<DestinationState> {
    return new StateMachine('destination', migrationId, DESTINATION_STATES, 'waiting');
  }

  get now(): State {
    return this.#now;
  }

  /** @throws Error if this state may not follow the present one */
  become(next: State): void {
    if (!this.#allowed[this.#now].includes(next)) {
      throw new Error(`a ${this.#side} in state ${this.#now} cannot enter state ${next}`);
    }
    this.#now = next;
    channels.state.publish({ side: this.#side, migrationId: this.migrationId, state: next });
  }
}
