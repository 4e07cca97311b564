import { existsSync } from 'node:fs';
import type { Decision, Journal, JournalEntry, JournalRecord, Side } from '../../migration/journal.js';
import { silentJournal } from '../../migration/failure.js';
import { askOutcome } from '../../migration/outcome.js';
import type { AskedOutcome } from '../../migration/protocol.js';
import { within } from '../../node/waiting.js';
import type { PeerOptions } from '../commands/options.js';
import { describeError } from '../describe-error.js';
import { EXIT_CODES } from '../exit-codes.js';
import { jsonLine } from '../json.js';
import type { Output } from '../program.js';
import type { Address } from '../transport/address.js';
import { connect } from '../transport/connect.js';
import { loadSecurity } from '../transport/security.js';
import { UsageError } from '../usage-error.js';
import { Resources } from './resources.js';

export interface ResolveCommandOptions extends PeerOptions {
  readonly journal?: string;
  readonly ask?: Address;
  readonly decide?: Decision;
  readonly side: Side;
  readonly json?: boolean;
}

/** A migration that is to be resolved; its table is known from a journal alone. */
type Resolvable = Pick<JournalEntry, 'migrationId' | 'side' | 'state'> &
  Partial<Pick<JournalRecord, 'order' | 'digest'>>;

/** What each state means for the guest at the side whose journal this is. */
const MEANINGS: Readonly<Record<Side, Readonly<Record<JournalEntry['state'], string>>>> = {
  source: {
    committed: "the guest is the destination's; it must not run here again",
    aborted: 'the guest stayed here, and may run here unless another migration has moved it since',
    pending: 'in doubt: keep the guest stopped here, and ask the destination',
  },
  destination: {
    committed: 'the guest is here',
    aborted: "the guest is the source's; it must not run here",
    pending:
      'prepared, and not told to commit: the guest must not run here, and the source can be told "aborted"',
  },
};

/** What an empty journal means where a process has died. */
const NOTHING: Readonly<Record<Side, string>> = {
  source: ': a send that died had not committed, and its guest is here',
  destination: '',
};

/** A `send` that was killed may have learnt that it had committed: what is decided tells as much as what is not. */
const DEAD_SEND =
  'a send that died is one of these, or had not come so far that it was written down: then its guest is here\n';

/**
 * Tells, or learns, how migrations ended.
 *
 * @returns the exit code: 0 only if all that were asked for, or that the journal knows of, are decided
 */
export async function resolve(
  migrationId: string | undefined,
  options: ResolveCommandOptions,
  output: Output,
  signal: AbortSignal,
): Promise<number> {
  checkUsage(migrationId, options);
  return Resources.use(async (resources) => {
    const { side, json, timeoutMs } = options;
    const journal = await resources.openJournal(options, signal);
    const known = entriesOf(journal, side, migrationId);
    const entries = await within(known, timeoutMs, signal, () => silentJournal(timeoutMs));
    if (entries.length === 0 && json !== true) {
      output.stdout.write(`the journal knows of no migration at the ${side}${NOTHING[side]}\n`);
    }
    let exitCode: number = EXIT_CODES.ok;
    for (const entry of entries) {
      const state =
        entry.state === 'pending' ? await settle(journal, entry, options, output, signal) : entry.state;
      if (state === 'pending') exitCode = EXIT_CODES.inDoubt;
      const { migrationId: id, order, digest } = entry;
      const meaning = MEANINGS[side][state];
      const line =
        json === true
          ? jsonLine({ migrationId: id, side, state, meaning, order, recordsDigest: digest })
          : `${id} ${state}: ${meaning}\n`;
      output.stdout.write(line);
    }
    const isList = migrationId === undefined && entries.length > 0;
    if (isList && side === 'source' && json !== true) output.stdout.write(DEAD_SEND);
    return exitCode;
  });
}

function checkUsage(
  migrationId: string | undefined,
  { journal, ask, decide, side }: ResolveCommandOptions,
): void {
  if (journal === undefined && (migrationId === undefined || ask === undefined)) {
    throw new UsageError('without a --journal, say which migration it is about and whom to --ask');
  }
  // One that is begun here would have nothing undecided in it, which says nothing about any guest.
  if (journal !== undefined && !existsSync(journal))
    throw new UsageError(`--journal: there is no journal ${journal}`);
  if (decide !== undefined && migrationId === undefined) {
    throw new UsageError('--decide needs the migration that it is about');
  }
  if (side === 'destination' && (ask !== undefined || decide === 'committed')) {
    // What had arrived has been thrown away, or ended with its process.
    throw new UsageError('an undecided destination can only be looked at, or decided to be "aborted"');
  }
}

async function entriesOf(
  journal: Journal | undefined,
  side: Side,
  migrationId: string | undefined,
): Promise<readonly Resolvable[]> {
  if (migrationId === undefined) return (await journal?.entries(side)) ?? [];
  if (journal === undefined) return [{ migrationId, side, state: 'pending' }];
  const entry = await journal.find(side, migrationId);
  if (entry !== undefined) return [entry];
  throw new UsageError(`the journal knows of no migration ${migrationId} at the ${side}`);
}

async function settle(
  journal: Journal | undefined,
  { migrationId, side }: Resolvable,
  options: ResolveCommandOptions,
  { stderr }: Output,
  signal: AbortSignal,
): Promise<JournalEntry['state']> {
  const { ask, decide, timeoutMs } = options;
  const write = (known: Journal, decision: Decision): Promise<Decision> =>
    within(known.decide(side, migrationId, decision), timeoutMs, signal, () => silentJournal(timeoutMs));
  if (journal !== undefined && decide !== undefined) return write(journal, decide);
  if (ask === undefined) return 'pending';
  const security = await loadSecurity(ask, options);
  let outcome: AskedOutcome;
  try {
    outcome = await askOutcome(await connect(ask, security, signal), migrationId, { timeoutMs, signal });
  } catch (error) {
    signal.throwIfAborted();
    if (error instanceof UsageError) throw error;
    // It stays in doubt, which the exit code is to say; why nobody answered, a person wants to know.
    stderr.write(`kvm-htab: nobody answered for ${migrationId}: ${describeError(error)}\n`);
    return 'pending';
  }
  // Somebody who has never heard of the migration knows nothing about the guest.
  if (outcome === 'unknown') return 'pending';
  if (journal === undefined) return outcome;
  try {
    return await write(journal, outcome);
  } catch (error) {
    // A journal that is damaged does not make the answer less true.
    stderr.write(
      `kvm-htab: ${migrationId} could not be written down as ${outcome}: ${describeError(error)}\n`,
    );
    return outcome;
  }
}
