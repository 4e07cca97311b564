import { tryBriefly } from '../../base/time.js';
import { HptTable } from '../../hpt/table.js';
import { isVm } from '../../io/vm-or-handle.js';
import type { HtabVm } from '../../vm/contract.js';
import type { HostModel } from '../../vm/host.js';
import { checkDescriptor, checkTableArgument, type TargetTable } from '../tables.js';
import type { CopyRules } from './table-copy.js';
import { openTarget, type Target } from './target.js';

/** A target, and what its table must be. */
export interface TargetWithRules {
  readonly access: Target;
  readonly rules: CopyRules;
}

/** Opens the target of a migration when it is first needed, once. */
export class LazyTarget implements AsyncDisposable {
  readonly #find: () => Promise<HtabVm | TargetTable>;
  readonly #host: HostModel | undefined;
  readonly #rulesFor: (target: Target) => CopyRules;
  #opened: Promise<TargetWithRules> | undefined;
  #table: HptTable | undefined;

  constructor(
    find: () => Promise<HtabVm | TargetTable>,
    { host, rulesFor }: { host: HostModel | undefined; rulesFor: (target: Target) => CopyRules },
  ) {
    this.#find = find;
    this.#host = host;
    this.#rulesFor = rulesFor;
  }

  /** @throws what finding it rejects with; TypeError, RangeError for invalid descriptors and options */
  open(): Promise<TargetWithRules> {
    return (this.#opened ??= this.#open());
  }

  /** An empty table for the fold of a connection; the next connection, if there is any, gets the same memory. */
  emptyTable(order: number): HptTable {
    const before = this.#table;
    if (before?.order !== order) return (this.#table = new HptTable(order));
    before.removeRun(0, before.entryCount);
    return before;
  }

  /** Lets go of it, if it was opened; one that is still being opened is closed once it is there. */
  async [Symbol.asyncDispose](): Promise<void> {
    // By now it is settled where the guest is: neither a failure to close nor one that hangs changes that.
    await tryBriefly(async () => (await this.#opened)?.access.close());
  }

  async #open(): Promise<TargetWithRules> {
    const found = await this.#find();
    checkTableArgument('target', found);
    let opened: Pick<Target, 'close'> | undefined = isVm(found) ? undefined : found.handle;
    try {
      if (!isVm(found)) checkDescriptor(found, 'write');
      const access = await openTarget(found, this.#host);
      opened = access;
      return { access, rules: this.#rulesFor(access) };
    } catch (error) {
      await tryBriefly(() => opened?.close());
      throw error;
    }
  }
}
