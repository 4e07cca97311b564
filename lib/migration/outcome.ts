import type { Duplex } from 'node:stream';
import { checkOptions, invalidType } from '../arguments.js';
import { acceptConnections, checkConnections } from './acceptor.js';
import { Connection } from './connection.js';
import { isDuplex } from './dialer.js';
import { migrationError } from './failure.js';
import { checkJournal, type Journal } from './journal.js';
import { checkMigrationId, timeoutOf, type MigrationOptions } from './options.js';
import { ask, type AskedOutcome } from './protocol.js';

export type OutcomeOptions = Pick<MigrationOptions, 'timeoutMs' | 'signal'>;

/**
 * Asks a destination how a migration ended. The channel is used up.
 *
 * To be asked only by the source of that migration, or whoever stands in for it: a destination that was prepared, and
 * has not been told to commit, answers `aborted` and from then on will not commit. `committed`: the guest is the
 * destination's. `aborted`: it is the source's, and never will be the destination's under this id. `unknown`: the one
 * asked has never heard of it, which says nothing about where the guest is.
 *
 * @throws HtabError `ERR_HTAB_MIGRATION` if the peer or the connection failed
 * @throws RangeError for options out of range, and a text that names no migration; the channel has not been touched then
 * @throws the signal's reason
 */
export async function askOutcome(
  channel: Duplex,
  migrationId: string,
  options: OutcomeOptions = {},
): Promise<AskedOutcome> {
  if (!isDuplex(channel)) throw invalidType('channel', 'a Duplex', channel);
  checkOptions(options);
  const timeoutMs = timeoutOf(options);
  checkMigrationId(migrationId);
  const connection = new Connection(channel, timeoutMs, options.signal);
  try {
    await connection.send(ask(migrationId));
    const { outcome } = await connection.expect('outcome', timeoutMs);
    return outcome;
  } finally {
    await connection.finish();
  }
}

/**
 * What a destination is to answer. If it is asked before it has decided, this decides: the source asks only when it has
 * lost sight of its commit, and then both must come to the same end.
 *
 * @throws as {@link Journal.decide}
 */
export async function outcomeOf(journal: Journal, migrationId: string): Promise<AskedOutcome> {
  const entry = await journal.find('destination', migrationId);
  return entry === undefined ? 'unknown' : journal.decide('destination', migrationId, 'aborted');
}

/**
 * Answers whoever asks for outcomes; anything else is refused. To be called once {@link receiveHpt} is done, with the
 * same connections, as long as a source may ask; and by an agent that has been started again.
 *
 * @param connections one, or those of a listener, which stays the caller's
 * @returns when there are no more connections, or the signal is aborted
 * @throws RangeError for options out of range; what `connections` fails with
 */
export async function answerOutcomes(
  journal: Journal,
  connections: Duplex | AsyncIterable<Duplex>,
  options: OutcomeOptions = {},
): Promise<void> {
  checkJournal(journal);
  checkConnections('connections', connections);
  checkOptions(options);
  const { signal } = options;
  await acceptConnections(connections, {
    timeoutMs: timeoutOf(options),
    signal,
    answer: (migrationId) => outcomeOf(journal, migrationId),
    take: (connection) =>
      connection.abort(migrationError('nobody waits for a table here; only outcomes are answered')),
  }).done;
}
