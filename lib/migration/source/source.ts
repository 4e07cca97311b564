import { HtabStateError } from '../../base/errors.js';
import { HptReader } from '../../io/reader.js';
import type { OpenFresh } from '../../io/fresh-look.js';
import { knownOrder } from '../../io/stream-order.js';
import { TableClaim } from '../../io/table-claim.js';
import { isVm } from '../../io/vm-or-handle.js';
import type { BackendName, HtabHandle, HtabVm } from '../../vm/contract.js';
import { hostOf, type HostModel } from '../../vm/host.js';
import type { SourceTable } from '../tables.js';

/** The table that a migration reads: that of a VM, or of a descriptor. */
export interface Source {
  readonly backend: BackendName;
  readonly host: HostModel | null;
  /** What opens fresh descriptors beside the reader's; undefined: {@link open} cannot be called again. */
  readonly fresh: HtabVm | OpenFresh | undefined;
  /** Whether {@link order} tells the order of another table, should there be one. */
  readonly knowsOrder: boolean;
  /** @throws HtabError if there is no table that could be moved */
  order(): number;
  /** A reader at the beginning of its first pass. */
  open(bufferBytes: number): Promise<HptReader>;
  /** Lets other operations use the table again. */
  release(): void;
}

/**
 * Opens what {@link sendHpt} was given.
 *
 * @throws HtabStateError `busy` if another operation of this process reads or replaces the VM's table
 */
export async function openSource(source: HtabVm | SourceTable, host: HostModel | undefined): Promise<Source> {
  return isVm(source)
    ? new SourceVm(source, await hostOf(source, source.backend, host))
    : new SourceDescriptor(source, await hostOf(undefined, source.backend ?? 'kvm', host));
}

class SourceVm implements Source {
  readonly fresh: HtabVm;
  readonly knowsOrder = true;
  readonly host: HostModel | null;
  /** Held from one reader to the next, so that no other one comes between them. */
  readonly #claim: TableClaim;

  constructor(vm: HtabVm, host: HostModel | null) {
    this.fresh = vm;
    this.host = host;
    this.#claim = TableClaim.take(vm, 'read', 'sendHpt');
  }

  get backend(): BackendName {
    return this.fresh.backend;
  }

  order(): number {
    return knownOrder(this.fresh);
  }

  open(bufferBytes: number): Promise<HptReader> {
    return HptReader.openClaimed(this.fresh, { bufferBytes });
  }

  release(): void {
    this.#claim.release();
  }
}

class SourceDescriptor implements Source {
  readonly knowsOrder = false;
  readonly host: HostModel | null;
  readonly #table: SourceTable;
  #used = false;

  constructor(table: SourceTable, host: HostModel | null) {
    this.#table = table;
    this.host = host;
  }

  get backend(): BackendName {
    return this.#table.backend ?? 'kvm';
  }

  get fresh(): OpenFresh | undefined {
    return this.#table.reopen;
  }

  order(): number {
    return this.#table.order;
  }

  async open(bufferBytes: number): Promise<HptReader> {
    const handle = this.#used ? await this.#reopen() : this.#table.handle;
    this.#used = true;
    return new HptReader(handle, { order: this.#table.order, bufferBytes });
  }

  async #reopen(): Promise<HtabHandle> {
    if (this.#table.reopen !== undefined) return this.#table.reopen(0);
    throw new HtabStateError('lost', "there is no second descriptor of the source's table; give reopen");
  }

  release(): void {
    // A descriptor is the migration's own.
  }
}
