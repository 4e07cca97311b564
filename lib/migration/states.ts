import { publishState } from './events.js';
import type { Side } from './journal.js';
import { DESTINATION_STATES, SOURCE_STATES, followers } from './two-phase.js';
import type { DestinationState, SourceState, StateTable } from './two-phase.js';

/** Where one side of one migration stands; it goes only where its table lets it. */
export class States<State extends SourceState | DestinationState> {
  readonly migrationId: string;
  readonly #side: Side;
  readonly #table: StateTable<State>;
  #now: State;

  private constructor(side: Side, migrationId: string, table: StateTable<State>, first: State) {
    this.#side = side;
    this.migrationId = migrationId;
    this.#table = table;
    this.#now = first;
  }

  static ofSource(migrationId: string): States<SourceState> {
    return new States('source', migrationId, SOURCE_STATES, 'connecting');
  }

  static ofDestination(migrationId: string): States<DestinationState> {
    return new States('destination', migrationId, DESTINATION_STATES, 'waiting');
  }

  get now(): State {
    return this.#now;
  }

  /** @throws Error if that cannot follow */
  become(next: State): void {
    if (!followers(this.#table[this.#now]).includes(next)) {
      throw new Error(`a ${this.#side} that is ${this.#now} cannot be ${next}`);
    }
    this.#now = next;
    publishState({ side: this.#side, migrationId: this.migrationId, state: next });
  }
}
