import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import type { OutcomeEvent, PassEvent, StateEvent } from '../migration/events.js';
import type { Side } from '../migration/journal.js';
import { exitCodeOf } from './exit-codes.js';
import { jsonLine } from './json.js';
import type { Output } from './program.js';

/** How a command tells what it does. */
export interface ReportOptions {
  /** Events for a program, one JSON object a line, on stdout; nothing but the last error on stderr. */
  readonly json?: boolean;
  /** Nothing but the last error. */
  readonly quiet?: boolean;
}

const PROGRESS_INTERVAL_MS = 1000;

/** What an event says beside its name and time. */
type Fields = Readonly<Record<string, unknown>>;

/** What is told of a migration's states, beyond what its commands say themselves. */
const STATE_LINES: Readonly<Partial<Record<StateEvent['state'], string>>> = {
  stopped: 'the guest is stopped',
  asking: 'the acknowledgement was lost: asking the destination where the guest is',
};

/**
 * Tells how one side of a migration goes on: to a person on stderr, or to a program on stdout. A migration's states, passes
 * and outcome come over the `kvm-htab:*` diagnostics channels.
 */
export class Reporter {
  readonly #output: Output;
  readonly #side: Side;
  readonly #mode: 'text' | 'json' | 'quiet';
  #lastProgressAt = -Infinity;
  #migrationId: string | undefined;

  constructor(side: Side, output: Output, { json = false, quiet = false }: ReportOptions) {
    this.#side = side;
    this.#output = output;
    this.#mode = quiet ? 'quiet' : json ? 'json' : 'text';
    subscribe('kvm-htab:state', this.#onState);
    subscribe('kvm-htab:pass', this.#onPass);
    subscribe('kvm-htab:outcome', this.#onOutcome);
  }

  /** Whether a person is to see the progress. */
  get forPeople(): boolean {
    return this.#mode === 'text';
  }

  /** Says something on the way. */
  say(text: string, event: string, fields: Fields = {}): void {
    if (this.#mode === 'json') this.#event(event, fields);
    else if (this.#mode === 'text') this.#output.stderr.write(`${text}\n`);
  }

  /** Tells a person the migration's name, once: if this process is killed, its end can be asked for by that name alone. */
  named(migrationId: string): void {
    if (this.#mode !== 'text' || migrationId === this.#migrationId) return;
    this.#migrationId = migrationId;
    this.#output.stderr.write(`migration ${migrationId}\n`);
  }

  /** Tells a program how far it is, once a second. */
  progress(fields: object): void {
    if (this.#mode !== 'json') return;
    const now = performance.now();
    if (now - this.#lastProgressAt < PROGRESS_INTERVAL_MS) return;
    this.#lastProgressAt = now;
    this.#event('progress', { ...fields });
  }

  /** Gives the result. */
  finish(text: string, report: object): void {
    if (this.#mode === 'json') this.#event('done', { ...report });
    else if (this.#mode === 'text') this.#output.stdout.write(text);
  }

  /** Gives the digest of the table, which may take a while to make: behind all that somebody waits for. */
  digest(report: { digest(): string }): void {
    if (this.#mode === 'json') this.#event('digest', { digest: report.digest() });
    else if (this.#mode === 'text') this.#output.stdout.write(`digest: ${report.digest()}\n`);
  }

  /** Gives the error that ends the command, to a program; a person is told where the command's exit code is made. */
  fail(error: unknown): void {
    if (this.#mode === 'json') this.#output.stdout.write(failedEvent(error));
  }

  close(): void {
    unsubscribe('kvm-htab:state', this.#onState);
    unsubscribe('kvm-htab:pass', this.#onPass);
    unsubscribe('kvm-htab:outcome', this.#onOutcome);
  }

  readonly #onState = (message: unknown): void => {
    const { side, migrationId, state } = message as StateEvent;
    if (side !== this.#side) return;
    this.named(migrationId);
    if (this.#mode === 'json') this.#event('state', { migrationId, state });
    else if (STATE_LINES[state] !== undefined) this.say(STATE_LINES[state], 'state');
  };

  readonly #onPass = (message: unknown): void => {
    const { side, ...fields } = message as PassEvent;
    if (this.#mode === 'json' && side === this.#side) this.#event('pass', fields);
  };

  readonly #onOutcome = (message: unknown): void => {
    const { side, error, ...fields } = message as OutcomeEvent;
    if (this.#mode !== 'json' || side !== this.#side) return;
    this.#event('outcome', { ...fields, ...(error !== undefined && errorFields(error)) });
  };

  #event(event: string, fields: Fields): void {
    this.#output.stdout.write(eventLine(event, fields));
  }
}

/** What a program is told of the error that ends a command. */
export function failedEvent(error: unknown): string {
  return eventLine('failed', { exitCode: exitCodeOf(error), ...errorFields(error) });
}

function eventLine(event: string, fields: Fields): string {
  return jsonLine({ event, time: new Date().toISOString(), ...fields });
}

function errorFields(error: unknown): Fields {
  if (!(error instanceof Error)) return { message: String(error) };
  const { code } = error as { readonly code?: unknown };
  return { ...(typeof code === 'string' && { code }), message: error.message };
}
