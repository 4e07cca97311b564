import { within } from '../../base/time.js';
import { backendRefusal } from '../compatibility.js';
import { duplicateIdError, isInDoubt, journalTimeoutError, limitError, migrationError } from '../errors.js';
import type { Journal } from '../journal/journal.js';
import type { Target } from './target.js';
import { REST_FEATURE, type Hello } from '../wire/messages.js';
import type { CopyRules } from './table-copy.js';
import type { LazyTarget } from './lazy-target.js';

/** The journal, and the longest time that it may take to answer. */
export interface JournalContext {
  readonly journal: Journal;
  readonly timeoutMs: number;
}

/** What a source is judged by. */
export interface HelloContext extends JournalContext {
  /** What takes the rest of a guest, where the whole guest is moved. */
  readonly rest: object | undefined;
}

/**
 * Judges a source by its `hello`, before anything is touched. A source that cannot move its table here ends no receiver, and
 * decides nothing about a migration that has its id: the receiver goes on waiting for another one.
 *
 * @returns why the source is turned away; undefined if it is welcome
 * @throws what ends the receiver: a journal that cannot answer, a target that cannot be opened
 */
export async function refusalOf(
  hello: Hello,
  context: HelloContext,
  target: LazyTarget,
): Promise<Error | undefined> {
  const { headerByteOrder, migrationId, attempt, order } = hello;
  // Records are written to the target as they come, and every supported host reads little-endian headers.
  if (headerByteOrder !== 'LE') {
    return migrationError(
      `the source sends record headers in ${headerByteOrder} byte order; LE is supported`,
    );
  }
  const incomplete = restRefusal(hello, context.rest !== undefined);
  if (incomplete !== undefined) return incomplete;
  const entry = await askJournal(context, (journal) => journal.find('destination', migrationId));
  if (entry !== undefined && entry.state !== 'pending') {
    return migrationError(
      `migration ${migrationId} is already ${entry.state} at the destination; ids must be unique`,
    );
  }
  // It was prepared, so its source has used a connection before; only another source begins with its first.
  if (entry !== undefined && attempt === 1) return duplicateIdError(migrationId);
  const { access, rules } = await target.open();
  return backendRefusal(hello.backend, access.backend) ?? orderRefusal(order, access, rules);
}

/** A guest is moved whole, or its table alone, and both sides mean the same. */
function restRefusal({ features }: Hello, takesRest: boolean): Error | undefined {
  const brings = features.includes(REST_FEATURE);
  if (brings && !takesRest) {
    return migrationError(
      'the source moves memory and devices too, and this destination a table alone; both need a "rest", or neither',
    );
  }
  if (!brings && takesRest) {
    return migrationError(
      'the source moves its table only, and the guest would not be whole at the destination; give sendHpt "rest"',
    );
  }
  return undefined;
}

function orderRefusal(
  order: number,
  { order: targetOrder }: Target,
  { expectedOrder, maxOrder }: CopyRules,
): Error | undefined {
  if (targetOrder !== undefined && order !== targetOrder) {
    return migrationError(`the source's table has order ${order}, the target's ${targetOrder}`);
  }
  if (expectedOrder !== undefined && order !== expectedOrder) {
    return limitError(
      'expectedOrder',
      `the source's table has order ${order}; order ${expectedOrder} is expected`,
    );
  }
  if (order <= maxOrder) return undefined;
  return limitError(
    'maxOrder',
    `the source's table has order ${order}; at most order ${maxOrder} is accepted`,
  );
}

/**
 * What the journal says before the decision: whatever it is in doubt about by then, the guest is the source's.
 *
 * @throws HtabError `ERR_HTAB_MIGRATION` if it is in doubt
 */
export async function askJournal<T>(
  { journal, timeoutMs }: JournalContext,
  call: (journal: Journal) => Promise<T>,
): Promise<T> {
  try {
    return await within(call(journal), timeoutMs, undefined, () => journalTimeoutError(timeoutMs));
  } catch (error) {
    if (!isInDoubt(error)) throw error;
    const reason = error instanceof Error ? error.message : String(error);
    throw migrationError(`this destination cannot record a decision: ${reason}`, error);
  }
}
