import { HtabJournalError } from '../../migration/journal/journal-damage.js';
import type { Journal, JournalEntry, JournalRecord, Side } from '../../migration/journal/journal.js';

/** `in-doubt`: a damaged line of the journal may be the decision. `none`: the journal does not have the migration. */
export type ToldState = JournalEntry['state'] | 'in-doubt' | 'none';

/** A migration that is to be resolved; its table is known from a journal alone. */
export type Resolvable = Pick<JournalEntry, 'migrationId' | 'side'> &
  Partial<Pick<JournalRecord, 'order' | 'digest'>> & { readonly state: ToldState };

/** What a journal says, and its damaged lines, which may say more. */
export interface Told {
  readonly entries: readonly Resolvable[];
  readonly damage?: HtabJournalError;
}

/** Whether it may still be decided. */
export function isOpen(state: ToldState): boolean {
  return state === 'pending' || state === 'in-doubt';
}

/** The migrations to be resolved: all at a side, or one. */
export async function tell(
  journal: Journal | undefined,
  side: Side,
  migrationId: string | undefined,
): Promise<Told> {
  const told: Told =
    journal === undefined ? { entries: [] } : await journal.entries(side).then(allTold, provenOf);
  if (migrationId === undefined) return told;
  const entry = told.entries.find((one) => one.migrationId === migrationId);
  if (entry !== undefined) return { ...told, entries: [entry] };
  if (journal === undefined) return { entries: [{ migrationId, side, state: 'pending' }] };
  if (told.damage !== undefined) return { ...told, entries: [{ migrationId, side, state: 'in-doubt' }] };
  return { entries: [{ migrationId, side, state: 'none' }] };
}

const allTold = (entries: readonly JournalEntry[]): Told => ({ entries });

/** What the whole lines of a damaged journal prove, and the migrations that its damaged lines may have decided. */
function provenOf(damage: unknown): Told {
  if (!(damage instanceof HtabJournalError)) throw damage;
  const open = damage.unproven.map((entry) => ({ ...entry, state: 'in-doubt' as const }));
  return { entries: [...damage.proven, ...open], damage };
}
