import { HtabStateError } from '../base/errors.js';
import type { HtabVm } from '../vm/contract.js';

/**
 * What an operation does to a VM's table while it lasts. `replace`: it gives the VM another table, or fills it from the
 * start.
 */
export type TableUse = 'read' | 'shared read' | 'write' | 'replace';

/** The uses under way that refuse another one. Readers take changes from each other; a writer's records are only changes. */
const REFUSED_BY: Readonly<Record<TableUse, readonly TableUse[]>> = {
  read: ['read', 'shared read', 'replace'],
  'shared read': ['replace'],
  write: ['write', 'replace'],
  replace: ['read', 'shared read', 'write', 'replace'],
};

/** Claims per VM object of this process. */
const claims = new WeakMap<HtabVm, Set<TableClaim>>();

/**
 * A claim of an operation on a VM's table: two operations that would harm each other do not run at once, and the one that
 * comes second is refused. The calls of `HtabVm` itself are the kernel's, and make no claims.
 */
export class TableClaim implements Disposable {
  readonly #use: TableUse;
  readonly #holder: string;
  readonly #release: () => void;

  /**
   * @param holder what makes the claim, for the error of another operation: `resizeHpt`
   * @throws HtabStateError `busy` if an operation is under way that this one would harm, or be harmed by
   */
  static take(vm: HtabVm, use: TableUse, holder: string): TableClaim {
    const held = claims.get(vm) ?? new Set();
    for (const other of held) {
      if (REFUSED_BY[use].includes(other.#use)) throw busyError(holder, use, other.#holder, other.#use);
    }
    const claim = new TableClaim(use, holder, () => held.delete(claim));
    claims.set(vm, held.add(claim));
    return claim;
  }

  private constructor(use: TableUse, holder: string, release: () => void) {
    this.#use = use;
    this.#holder = holder;
    this.#release = release;
  }

  /** Idempotent. */
  release(): void {
    this.#release();
  }

  [Symbol.dispose](): void {
    this.release();
  }
}

function busyError(holder: string, use: TableUse, otherHolder: string, otherUse: TableUse): HtabStateError {
  const twoReaders = use === 'read' && otherUse !== 'replace';
  return new HtabStateError(
    'busy',
    `this VM's table is in use by ${otherHolder}` +
      (twoReaders
        ? ', and two readers would take changes from each other; close it first, or open the reader with shared: true'
        : `; call ${holder} again once that has ended`),
  );
}
