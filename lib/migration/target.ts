import { HptTable } from '../hpt/table.js';
import { isVm } from '../io/vm-or-handle.js';
import type { HtabVm } from '../vm/contract.js';
import type { HostModel } from '../vm/host.js';
import {
  checkEndpoint,
  checkDescriptor,
  targetAccess,
  type TargetAccess,
  type TargetTable,
} from './endpoints.js';
import type { CopyRules } from './table-copy.js';

/** A target that is there, and what its table must be. */
export interface OpenTarget {
  readonly access: TargetAccess;
  readonly rules: CopyRules;
}

/** Opens the target of a migration when it is first needed, once. */
export class Target implements AsyncDisposable {
  readonly #find: () => Promise<HtabVm | TargetTable>;
  readonly #host: HostModel | undefined;
  readonly #rulesFor: (target: TargetAccess) => CopyRules;
  #opened: Promise<OpenTarget> | undefined;
  #fold: HptTable | undefined;

  constructor(
    find: () => Promise<HtabVm | TargetTable>,
    { host, rulesFor }: { host: HostModel | undefined; rulesFor: (target: TargetAccess) => CopyRules },
  ) {
    this.#find = find;
    this.#host = host;
    this.#rulesFor = rulesFor;
  }

  /** @throws what finding it rejects with; TypeError, RangeError for a descriptor or options that cannot be */
  open(): Promise<OpenTarget> {
    return (this.#opened ??= this.#open());
  }

  /** An empty table for the fold of a connection: the next one, if there is any, gets the same memory. */
  emptyFold(order: number): HptTable {
    const before = this.#fold;
    if (before?.order !== order) return (this.#fold = new HptTable(order));
    before.removeRun(0, before.entryCount);
    return before;
  }

  /** Lets go of it, if it was opened. */
  async [Symbol.asyncDispose](): Promise<void> {
    const opened = await this.#opened?.catch(() => undefined);
    // By now it is settled where the guest is, and a failure to close does not change that.
    await opened?.access.close().catch(() => undefined);
  }

  async #open(): Promise<OpenTarget> {
    const found = await this.#find();
    checkEndpoint('target', found);
    try {
      if (!isVm(found)) checkDescriptor(found, 'write');
      const access = await targetAccess(found, this.#host);
      return { access, rules: this.#rulesFor(access) };
    } catch (error) {
      if (!isVm(found)) await found.handle.close().catch(() => undefined);
      throw error;
    }
  }
}
