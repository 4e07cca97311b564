import { existsSync } from 'node:fs';
import type { Decision, Journal, Side } from '../../migration/journal/journal.js';
import { journalTimeoutError, migrationError } from '../../migration/errors.js';
import { askOutcome } from '../../migration/outcome.js';
import type { AskedOutcome } from '../../migration/wire/messages.js';
import { within } from '../../base/time.js';
import type { PeerOptions } from '../options/migration.js';
import { describeError } from '../errors/describe-error.js';
import { EXIT_CODES } from '../errors/exit-codes.js';
import { jsonLine } from '../report/json.js';
import type { Address } from '../../transport/address.js';
import { connectTo } from '../../transport/connect.js';
import { loadSecurity } from '../../transport/security.js';
import { UsageError } from '../errors/usage-error.js';
import type { Output } from '../output.js';
import { Resources } from '../resources.js';
import { DEAD_SEND, MAY_BE_MORE, MEANINGS, NOTHING } from './meanings.js';
import { isOpen, tell, type Resolvable, type Told, type ToldState } from './told.js';

export interface ResolveCommandOptions extends PeerOptions {
  readonly journal?: string;
  readonly ask?: Address;
  readonly decide?: Decision;
  readonly side: Side;
  readonly json?: boolean;
}

/** What `resolve` was asked, and the journal that it has opened. */
interface Resolving {
  readonly options: ResolveCommandOptions;
  readonly output: Output;
  readonly signal: AbortSignal;
  readonly journal: Journal | undefined;
}

/**
 * Prints how migrations ended, after asking or deciding where that is wanted.
 *
 * @returns the exit code: 0 only if the named migration, or all in the journal, are decided; 1 if the journal does not have it
 */
export async function resolve(
  migrationId: string | undefined,
  options: ResolveCommandOptions,
  output: Output,
  signal: AbortSignal,
): Promise<number> {
  checkUsage(migrationId, options);
  return Resources.use(async (resources) => {
    const journal = await resources.openJournal(options, signal);
    const telling = tell(journal, options.side, migrationId);
    const told = await inTime(telling, options, signal);
    if (told.damage !== undefined) output.stderr.write(`kvm-htab: ${describeError(told.damage)}\n`);
    const exitCode = await report(told, { options, output, signal, journal });
    const complete = migrationId !== undefined || reportRest(told, options, output);
    return complete ? exitCode : EXIT_CODES.inDoubt;
  });
}

/** The journal's answer, unless it takes too long. */
function inTime<T>(
  answer: Promise<T>,
  { timeoutMs }: ResolveCommandOptions,
  signal: AbortSignal,
): Promise<T> {
  return within(answer, timeoutMs, signal, () => journalTimeoutError(timeoutMs));
}

/**
 * Prints where the guest of each migration is, after asking for those that are undecided.
 *
 * @returns the exit code that their states have
 * @throws HtabError `ERR_HTAB_MIGRATION` if one is decided otherwise than asked for, or is to be decided and not there
 */
async function report({ entries, damage }: Told, resolving: Resolving): Promise<number> {
  const { output, options } = resolving;
  const { side, json } = options;
  let exitCode: number = EXIT_CODES.ok;
  for (const entry of entries) {
    const state = isOpen(entry.state) ? await settle(entry, resolving) : entry.state;
    if (isOpen(state)) exitCode = EXIT_CODES.inDoubt;
    // A mistyped id must not pass for one that has been decided.
    if (state === 'none') exitCode = EXIT_CODES.failed;
    const { migrationId, order, digest } = entry;
    const meaning = MEANINGS[side][state];
    const fields = { migrationId, side, state, meaning, order, sentDigest: digest };
    output.stdout.write(
      json === true
        ? jsonLine({ ...fields, damage: damage?.faults })
        : `${migrationId} ${state}: ${meaning}\n`,
    );
    // A script that goes on after --decide would act on the opposite of what is true.
    if (options.decide !== undefined && state !== options.decide && !isOpen(state)) {
      const why = state === 'none' ? 'not in the journal' : `already ${state}`;
      throw migrationError(`migration ${migrationId} is ${why}; --decide ${options.decide} changes nothing`);
    }
  }
  return exitCode;
}

/**
 * Prints what the journal says of migrations that are not in it.
 *
 * @returns whether there are none, which a damaged journal cannot tell
 */
function reportRest(
  { entries, damage }: Told,
  { side, json }: ResolveCommandOptions,
  { stdout }: Output,
): boolean {
  if (damage !== undefined) {
    const fields = { side, state: 'in-doubt', meaning: MAY_BE_MORE, damage: damage.faults };
    stdout.write(json === true ? jsonLine(fields) : `${MAY_BE_MORE}\n`);
    return false;
  }
  if (json === true) return true;
  if (entries.length === 0) {
    stdout.write(`the journal has no migration at the ${side}${NOTHING[side]}\n`);
  } else if (side === 'source') {
    stdout.write(DEAD_SEND);
  }
  return true;
}

function checkUsage(
  migrationId: string | undefined,
  { journal, ask, decide, side }: ResolveCommandOptions,
): void {
  if (journal === undefined && (migrationId === undefined || ask === undefined)) {
    throw new UsageError('resolve needs --journal; or, without one, a migration-id and --ask');
  }
  // A journal created here would be empty, which says nothing about any guest.
  if (journal !== undefined && !existsSync(journal))
    throw new UsageError(`--journal: ${journal} does not exist; check the path`);
  if (decide !== undefined && migrationId === undefined) {
    throw new UsageError('--decide needs the migration-id of what it decides');
  }
  if (side === 'destination' && ask !== undefined) {
    throw new UsageError('--ask asks a destination, and cannot be used with --side destination');
  }
  if (side === 'destination' && decide === 'committed') {
    throw new UsageError(
      '--side destination allows only --decide aborted: the table that was received is gone with its process',
    );
  }
}

/** Decides what is undecided, or asks the destination; without an answer the state stays as it is. */
async function settle(entry: Resolvable, resolving: Resolving): Promise<ToldState> {
  const { options, output, journal } = resolving;
  const { ask, decide } = options;
  if (journal !== undefined && decide !== undefined) return record(entry, decide, { ...resolving, journal });
  if (ask === undefined) return entry.state;
  const outcome = await askDestination(entry, ask, resolving);
  // A destination that does not know the migration knows nothing about the guest.
  if (outcome === 'unknown') return entry.state;
  if (journal === undefined) return outcome;
  try {
    return await record(entry, outcome, { ...resolving, journal });
  } catch (error) {
    // The answer is true even if the journal is damaged.
    output.stderr.write(
      `kvm-htab: ${entry.migrationId} could not be recorded as ${outcome}: ${describeError(error)}\n`,
    );
    return outcome;
  }
}

/** Writes the decision to the journal; an earlier one stands. */
function record(
  { side, migrationId }: Resolvable,
  decision: Decision,
  { journal, options, signal }: Resolving & { readonly journal: Journal },
): Promise<Decision> {
  return inTime(journal.decide(side, migrationId, decision), options, signal);
}

/** The destination's answer; `unknown` too if there is none. */
async function askDestination(
  { migrationId, digest }: Resolvable,
  address: Address,
  { options, output, signal }: Resolving,
): Promise<AskedOutcome> {
  const security = await loadSecurity(address, options);
  try {
    const channel = await connectTo(address, security, signal);
    return await askOutcome(channel, migrationId, { digest, timeoutMs: options.timeoutMs, signal });
  } catch (error) {
    signal.throwIfAborted();
    if (error instanceof UsageError) throw error;
    // The migration stays in doubt, which the exit code says; a person needs the reason.
    output.stderr.write(`kvm-htab: no answer about ${migrationId}: ${describeError(error)}\n`);
    return 'unknown';
  }
}
