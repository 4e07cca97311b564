import {
  channels,
  type OutcomeEvent,
  type PassEvent,
  type ReconnectingEvent,
  type StateEvent,
} from '../../migration/events.js';
import type { Side } from '../../migration/journal/journal.js';
import { describeError } from '../errors/describe-error.js';
import type { Output } from '../output.js';
import { EventReporter, errorFields, type ReportOptions } from './event-reporter.js';

/** Lines for some of a migration's states, beyond what its commands print themselves. */
const STATE_LINES: Readonly<Partial<Record<StateEvent['state'], string>>> = {
  stopped: 'the guest is stopped',
  asking: 'the acknowledgement was lost: asking the destination where the guest is',
};

/**
 * Reports how one side of a migration proceeds. Its states, passes and outcome come from the `kvm-htab:*` diagnostics channels.
 */
export class Reporter extends EventReporter {
  readonly #side: Side;
  #migrationId: string | undefined;

  constructor(side: Side, output: Output, options: ReportOptions) {
    super(output, options);
    this.#side = side;
    channels.state.subscribe(this.#onState);
    channels.pass.subscribe(this.#onPass);
    channels.outcome.subscribe(this.#onOutcome);
    channels.reconnecting.subscribe(this.#onReconnecting);
  }

  /** Prints the migration's id for a person, once: if this process is killed, only the id can tell how it ended. */
  named(migrationId: string): void {
    if (this.mode !== 'text' || migrationId === this.#migrationId) return;
    this.#migrationId = migrationId;
    this.output.stderr.write(`migration ${migrationId}\n`);
  }

  close(): void {
    channels.state.unsubscribe(this.#onState);
    channels.pass.unsubscribe(this.#onPass);
    channels.outcome.unsubscribe(this.#onOutcome);
    channels.reconnecting.unsubscribe(this.#onReconnecting);
  }

  readonly #onState = (event: StateEvent): void => {
    const { side, migrationId, state } = event;
    if (side !== this.#side) return;
    this.named(migrationId);
    if (this.mode === 'json') this.event('state', { migrationId, state });
    else if (STATE_LINES[state] !== undefined) this.say(STATE_LINES[state], 'state');
  };

  readonly #onPass = (event: PassEvent): void => {
    const { side, ...fields } = event;
    if (this.mode === 'json' && side === this.#side) this.event('pass', fields);
  };

  readonly #onOutcome = (event: OutcomeEvent): void => {
    const { side, error, ...fields } = event;
    if (this.mode !== 'json' || side !== this.#side) return;
    this.event('outcome', { ...fields, ...(error !== undefined && errorFields(error)) });
  };

  readonly #onReconnecting = (event: ReconnectingEvent): void => {
    if (this.#side !== 'source') return;
    const { migrationId, attempt, maxAttempts, delayMs, error } = event;
    const reason = describeError(error);
    const number = maxAttempts === undefined ? '' : `, ${attempt} of ${maxAttempts}`;
    this.say(`${reason}; trying again in ${delayMs} ms${number}`, 'reconnecting', {
      ...{ migrationId, attempt, maxAttempts, delayMs },
      message: reason,
    });
  };
}
