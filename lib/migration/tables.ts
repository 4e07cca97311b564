import { invalidTypeError, invalidValueError } from '../base/arguments.js';
import { MAX_STREAM_ORDER, checkOrder } from '../hpt/geometry.js';
import type { OpenFresh } from '../io/fresh-look.js';
import { isHandle, isVm } from '../io/vm-or-handle.js';
import type { BackendName, HtabHandle } from '../vm/contract.js';

/** A table to be moved of which only a descriptor is here, such as one that a VMM has handed over. */
export interface SourceTable {
  /** A read descriptor that has not been read from. It is the migration's from here on, which closes it, whatever its end is. */
  readonly handle: HtabHandle;
  /** log2 of the table's bytes, 18..36: the descriptor does not tell. */
  readonly order: number;
  /** Kind of VM; default `kvm`. */
  readonly backend?: BackendName;
  /**
   * Another fresh read descriptor, to begin again when changes were lost, and to see before the commit that the guest's
   * table still is the one that was sent. Without it a guest that went to radix, was reset, or had its table resized under
   * the descriptor cannot be told from a quiet one, and entries that it no longer has are moved (`sourceRechecked: false`).
   *
   * @param startIndex ptex at which its first pass should begin. A descriptor that begins at 0 serves as well, but then the
   *   whole table is read while the guest stands still
   */
  readonly reopen?: OpenFresh;
}

/** A table to be filled of which only a descriptor is here. */
export interface TargetTable {
  /** A write descriptor; its VM has a table and runs no vcpu. It is the migration's from here on, which closes it, whatever its end is. */
  readonly handle: HtabHandle;
  /** log2 of the table's bytes, 18..36; a source with another one is refused. */
  readonly order: number;
  /** Kind of VM; default `kvm`. */
  readonly backend?: BackendName;
  /** A read descriptor of the same table: without it the table cannot be read back. */
  readonly openRead?: () => Promise<HtabHandle>;
}

/**
 * @throws TypeError for what is neither a VM nor a table with a handle: there is nothing to close then
 */
export function checkTableArgument(name: string, value: unknown): void {
  if (isVm(value) || isHandle((value as Partial<SourceTable> | null | undefined)?.handle)) return;
  throw invalidTypeError(name, 'an HtabVm, or an object with a "handle" that is an HtabHandle', value);
}

/** @throws TypeError, RangeError for a descriptor of the wrong kind, or an order out of range */
export function checkDescriptor(
  { handle, order }: SourceTable | TargetTable,
  access: 'read' | 'write',
): void {
  checkOrder(order, MAX_STREAM_ORDER);
  if (handle.access === access) return;
  throw invalidValueError(
    `The "handle" argument must be open for ${access === 'read' ? 'reading' : 'writing'}`,
  );
}
