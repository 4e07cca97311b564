import { optionOf } from '../../base/for-option.js';
import { describeError, flagOf } from '../errors/describe-error.js';
import { exitCodeOf } from '../errors/exit-codes.js';
import type { Output } from '../output.js';
import { jsonLine, reportFields } from './json.js';
import type { ProgressDisplay } from './progress.js';

/** How a command reports what it does. */
export interface ReportOptions {
  /** Events for a program, one JSON object a line, on stdout; nothing but the last error on stderr. */
  readonly json?: boolean;
  /** Nothing but the last error. */
  readonly quiet?: boolean;
}

const PROGRESS_INTERVAL_MS = 1000;

/** Fields of an event beside its name and time. */
export type Fields = Readonly<Record<string, unknown>>;

/** Reports how a command proceeds: for a person on stderr, or for a program, as events, on stdout. */
export class EventReporter {
  protected readonly mode: 'text' | 'json' | 'quiet';
  protected readonly output: Output;
  #lastProgressAt = -Infinity;

  constructor(output: Output, { json = false, quiet = false }: ReportOptions) {
    this.output = output;
    this.mode = quiet ? 'quiet' : json ? 'json' : 'text';
  }

  /** Prints a line, or an event, while the command runs. */
  say(text: string, event: string, fields: Fields = {}): void {
    if (this.mode === 'json') this.event(event, fields);
    else if (this.mode === 'text') this.output.stderr.write(`${text}\n`);
  }

  /**
   * Runs a job, and shows its progress.
   *
   * @param create makes what shows it to a person
   * @param run is given what to call with it
   */
  async showing<Progress extends object, T>(
    create: (stderr: Output['stderr']) => ProgressDisplay<Progress>,
    run: (onProgress: (progress: Progress) => void) => Promise<T>,
  ): Promise<T> {
    const display = this.mode === 'text' ? create(this.output.stderr) : undefined;
    try {
      return await run((progress) => {
        display?.update(progress);
        this.#progress(progress);
      });
    } finally {
      display?.stop();
    }
  }

  /** Prints the progress for a program, once a second. */
  #progress(fields: object): void {
    if (this.mode !== 'json') return;
    const now = performance.now();
    if (now - this.#lastProgressAt < PROGRESS_INTERVAL_MS) return;
    this.#lastProgressAt = now;
    this.event('progress', { ...fields });
  }

  /** Prints the result. */
  finish(text: string, report: object): void {
    if (this.mode === 'json') this.event('done', { ...reportFields(report) });
    else if (this.mode === 'text') this.output.stdout.write(text);
  }

  /** Prints the digest of the table, if there is one. Computing it may take a while: everything urgent is printed before. */
  digest(report: { digest(): string | undefined }): void {
    if (this.mode === 'quiet') return;
    const digest = report.digest();
    if (digest === undefined) return;
    if (this.mode === 'json') this.event('digest', { digest });
    else this.output.stdout.write(`digest: ${digest}\n`);
  }

  /** Prints the error that ends the command, for a program; for a person it is printed where the exit code is decided. */
  fail(error: unknown, fields: Fields = {}): void {
    if (this.mode === 'json') this.output.stdout.write(failedEvent(error, fields));
  }

  protected event(event: string, fields: Fields): void {
    this.output.stdout.write(eventLine(event, fields));
  }
}

/** The event for the error that ends a command. */
export function failedEvent(error: unknown, fields: Fields = {}): string {
  return eventLine('failed', { exitCode: exitCodeOf(error), ...fields, ...errorFields(error) });
}

/** One event, for a program. */
export function eventLine(event: string, fields: Fields): string {
  return jsonLine({ event, time: new Date().toISOString(), ...fields });
}

/** The message is the one that a person sees. */
export function errorFields(error: unknown): Fields {
  const { code } = (error ?? {}) as { readonly code?: unknown };
  const option = optionOf(error);
  return {
    ...(typeof code === 'string' && { code }),
    ...(option !== undefined && { option: flagOf(option) }),
    message: describeError(error),
  };
}
