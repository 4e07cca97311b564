import type { Duplex } from 'node:stream';
import { checkFunction, invalidTypeError } from '../base/arguments.js';
import { checkOptions, type OptionTable } from '../base/options.js';
import { acceptConnections, checkConnections } from './wire/acceptor.js';
import { Connection } from './wire/connection.js';
import { isDuplex } from './wire/dialer.js';
import { migrationError } from './errors.js';
import { checkDigest, checkJournal, type Journal, type JournalEntry } from './journal/journal.js';
import { checkMigrationId } from './migration-id.js';
import { MIGRATION_OPTIONS, timeoutOf, type MigrationOptions } from './options.js';
import type { Answer, Ask, AskedOutcome } from './wire/messages.js';
import { ask } from './wire/protocol.js';
import type { OnRefused } from '../transport/arrivals.js';

export type OutcomeOptions = Pick<MigrationOptions, 'timeoutMs' | 'signal'>;

export interface AskOptions extends OutcomeOptions {
  /**
   * The `digest` of the source's journal entry. Give it wherever it is known: without it the answer may be about another
   * source's table under the same id.
   */
  readonly digest?: string | undefined;
}

export interface AnswerOptions extends OutcomeOptions {
  /**
   * Called when a listener's connection is closed because it does not ask for an outcome: with the reason, and the peer's
   * IP address where there is one.
   */
  readonly onRefused?: OnRefused | undefined;
}

const OUTCOME_OPTIONS = {
  timeoutMs: MIGRATION_OPTIONS.timeoutMs,
  signal: { doc: 'ends it with its reason' },
} as const satisfies OptionTable<OutcomeOptions>;

const DIGEST = '64 hexadecimal digits';

export const ASK_OPTIONS = {
  ...OUTCOME_OPTIONS,
  timeoutMs: { ...MIGRATION_OPTIONS.timeoutMs, doc: 'longest silence of the destination' },
  digest: {
    values: DIGEST,
    doc: "`digest` of the source's journal entry: the answer is about that table or none",
  },
} as const satisfies OptionTable<AskOptions>;

export const ANSWER_OPTIONS = {
  ...OUTCOME_OPTIONS,
  onRefused: { doc: 'called when a connection is closed because it does not ask for an outcome' },
} as const satisfies OptionTable<AnswerOptions>;

/**
 * Asks a destination how a migration ended. The channel is used up.
 *
 * To be asked only by the source of that migration, or an operator who stands in for it: a destination that was prepared, and
 * has not been told to commit, answers `aborted` and from then on will not commit. `committed`: the guest is the
 * destination's. `aborted`: it is the source's, and never will be the destination's under this id. `unknown`: the one
 * asked has never heard of it, or has another table under this id, which says nothing about where the guest is.
 *
 * @throws HtabError `ERR_HTAB_MIGRATION` if the peer or the connection failed, or its journal is damaged and cannot tell
 * @throws RangeError for options out of range, and a text that names no migration; the channel has not been touched then
 * @throws the signal's reason
 *
 * @example
 * const outcome = await askOutcome(channel, migrationId, { digest });
 * if (outcome === 'aborted') await resume(); // 'committed': never again here; 'unknown': keep it stopped
 */
export async function askOutcome(
  channel: Duplex,
  migrationId: string,
  options: AskOptions = {},
): Promise<AskedOutcome> {
  if (!isDuplex(channel)) throw invalidTypeError('channel', 'a Duplex', channel);
  checkOptions(options, ASK_OPTIONS);
  const timeoutMs = timeoutOf(options);
  checkMigrationId(migrationId);
  const { digest = null } = options;
  if (digest !== null) checkDigest(digest);
  const connection = new Connection(channel, 'destination', timeoutMs, options.signal);
  try {
    await connection.send(ask(migrationId, digest));
    const answer = await connection.expect('outcome', timeoutMs);
    if (answer.outcome !== 'unknown' && answer.digest !== (digest ?? answer.digest)) {
      throw migrationError(
        `the destination answered about a table with digest ${answer.digest}; the question was about ${digest}: ` +
          `migration id ${migrationId} has been used twice`,
      );
    }
    return answer.outcome;
  } finally {
    await connection.finish();
  }
}

/**
 * What a destination is to answer. If it is asked before it has decided, this decides: the source asks only when it has
 * lost sight of its commit, and then both must come to the same end. One that asks about another table than the journal
 * has under this id is another source: it is told nothing, and decides nothing.
 *
 * @throws as {@link Journal.decide}
 */
export async function abortUnlessDecided(
  journal: Journal,
  { migrationId, digest }: Pick<Ask, 'migrationId' | 'digest'>,
): Promise<Answer> {
  const isAsked = (entry: JournalEntry | undefined): entry is JournalEntry =>
    entry !== undefined && (digest === null || digest === entry.digest);
  const unknown: Answer = { outcome: 'unknown', digest: null };
  if (!isAsked(await journal.find('destination', migrationId))) return unknown;
  const outcome = await journal.decide('destination', migrationId, 'aborted');
  // Another process may have begun it again meanwhile, with another table.
  const decided = await journal.find('destination', migrationId);
  return isAsked(decided) ? { outcome, digest: decided.digest } : unknown;
}

/**
 * Answers sources that ask for outcomes; a connection that wants anything else is closed, unless a {@link receiveHpt}
 * waits for it over the same connections. To be called once that is done, or beside it, as long as a source may ask; and
 * by an agent that has been started again.
 *
 * @param connections one, or those of a listener, which stays the caller's
 * @returns when there are no more connections, or the signal is aborted
 * @throws RangeError for options out of range; what `connections` fails with
 *
 * @example
 * await answerOutcomes(journal, listener, { signal });
 */
export async function answerOutcomes(
  journal: Journal,
  connections: Duplex | AsyncIterable<Duplex>,
  options: AnswerOptions = {},
): Promise<void> {
  checkJournal(journal);
  checkConnections('connections', connections);
  checkOptions(options, ANSWER_OPTIONS);
  const { signal, onRefused } = options;
  if (onRefused !== undefined) checkFunction('onRefused', onRefused);
  await acceptConnections(connections, {
    timeoutMs: timeoutOf(options),
    signal,
    journal,
    answer: (asked) => abortUnlessDecided(journal, asked),
    onRefused,
  }).done;
}
