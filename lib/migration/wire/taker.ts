import type { Connection } from './connection.js';
import type { Journal } from '../journal/journal.js';
import type { OnRefused } from '../../transport/arrivals.js';
import type { Answer, Ask, AskedOutcome, Hello } from './messages.js';

/**
 * How a receiver stands to a source that says hello, the best first: `own`, it waits for this migration or has it under
 * way; `free`, it waits for any; `interrupted`, it waits for another one whose connection has broken; `busy`, it has
 * another one under way; `none`, it waits for others.
 */
export type Standing = 'own' | 'free' | 'interrupted' | 'busy' | 'none';

/** With these, a receiver takes the source. */
export const TAKING: readonly Standing[] = ['own', 'free', 'interrupted'];

/** What takes the table of a source. */
export interface Taker {
  fit(hello: Hello): Standing;
  /**
   * Takes the connection, unless it has taken another source while it judged this one; rejects if the source is to be
   * turned away.
   *
   * @returns whether it has taken it
   */
  take(connection: Connection, hello: Hello): Promise<boolean>;
  /** Told what a source that asked has been answered. */
  answered(migrationId: string, outcome: AskedOutcome): void;
}

export interface AcceptorOptions {
  readonly timeoutMs: number;
  readonly signal: AbortSignal | undefined;
  readonly journal: Journal;
  /** What this journal has for a source that asks. It may be called later too, as long as the listener is used. */
  readonly answer: (asked: Ask) => Promise<Answer>;
  /** Undefined: only outcomes are answered. */
  readonly taker?: Taker;
  /** Of several acceptors over one listener, the oldest is told. */
  readonly onRefused?: OnRefused | undefined;
}

/** Connections being accepted. */
export interface Accepting {
  /** Resolves when no more will come, or the signal is aborted; rejects if the connections failed, or the only one did. */
  readonly done: Promise<void>;
  /** Takes no further connection. */
  readonly stop: () => void;
}
