import { HtabStateError, HtabUnavailableError } from '../base/errors.js';
import { MAX_STREAM_ORDER, MIN_ORDER } from '../hpt/geometry.js';
import type { IncompletePassError } from '../records/pass-counter.js';

// Errors of every reader whose table is not the one it expected: one wording for all.

/** @param sign what showed it, with its numbers */
export function orderChangedError(order: number, sign: string): HtabStateError {
  return new HtabStateError(
    'order-changed',
    `the table does not have order ${order}: ${sign}. If ${order} was its order, the guest was reset or its table resized: ` +
      'open a new reader and begin with its first pass; if not, give the right order',
  );
}

/** {@link orderChangedError}, or {@link replacedTableError} where the order has not been known. */
export function otherOrderError(order: number | undefined, sign: string): HtabStateError {
  return order === undefined ? replacedTableError() : orderChangedError(order, sign);
}

/**
 * The changes that a read took from the table have not come. Where another reader takes them, the handle has said so, and a new
 * reader must not begin.
 */
export function lostChangesError(cause: unknown): HtabStateError {
  if (cause instanceof HtabStateError && cause.state === 'in-use') return cause;
  return new HtabStateError(
    'lost',
    'a read failed, and the changes it had taken are gone; open a new reader and begin with its first pass',
    { cause },
  );
}

/** @param ptex an entry that a fresh descriptor gives otherwise, where one is known */
export function replacedTableError(ptex?: number): HtabStateError {
  return new HtabStateError(
    'replaced',
    'the guest was reset or its table resized, or another reader took its changes: open a new reader and begin with its ' +
      'first pass. The table is not the one that was read',
    { ptex },
  );
}

/**
 * The error for a first pass that does not name every entry.
 *
 * @param found the sentence that says so
 * @param named entries that the pass named, valid or not
 */
export const incompletePassError: IncompletePassError = (found, named, order) => {
  if (named === 0) {
    return new HtabUnavailableError(
      'no-table',
      `${found}: the guest uses radix or has no table, or the descriptor has been read from before`,
      'a guest with a table needs a fresh descriptor, a radix guest none',
    );
  }
  const other = Math.log2(named) + 4;
  if (Number.isInteger(other) && other >= MIN_ORDER && other <= MAX_STREAM_ORDER) {
    return orderChangedError(order, `${found}, as many as one of order ${other} has`);
  }
  return new HtabStateError(
    'lost',
    `${found}: the descriptor has been read from before, or the table was replaced during the pass; begin with a fresh descriptor`,
  );
};
