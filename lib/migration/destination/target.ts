import { HtabUnavailableError } from '../../base/errors.js';
import { HptReader } from '../../io/reader.js';
import { TableClaim } from '../../io/table-claim.js';
import { TableWriter, openEmptyTable } from '../../io/table-writer.js';
import { isVm } from '../../io/vm-or-handle.js';
import type { BackendName, HtabHandle, HtabVm } from '../../vm/contract.js';
import { hostOf, type HostModel } from '../../vm/host.js';
import type { TargetTable } from '../tables.js';

/** The table that a migration fills: that of a VM, or of a descriptor. */
export interface Target {
  readonly backend: BackendName;
  readonly host: HostModel | null;
  readonly canReadBack: boolean;
  /** The only order that it can have. */
  readonly order?: number | undefined;
  /** Makes the table empty, and of this order; gives a write descriptor that is to be closed with {@link release}. */
  begin(order: number): Promise<HtabHandle>;
  openRead(order: number): Promise<HptReader>;
  release(handle: HtabHandle): Promise<void>;
  /** Empties the table again. */
  clear(order: number): Promise<void>;
  close(): Promise<void>;
}

/**
 * Opens what {@link receiveHpt} was given.
 *
 * @throws HtabStateError `busy` if another operation of this process reads, writes or replaces the VM's table
 */
export async function openTarget(target: HtabVm | TargetTable, host: HostModel | undefined): Promise<Target> {
  return isVm(target)
    ? new TargetVm(target, await hostOf(target, target.backend, host))
    : new TargetDescriptor(target, await hostOf(undefined, target.backend ?? 'kvm', host));
}

class TargetVm implements Target {
  readonly canReadBack = true;
  readonly host: HostModel | null;
  readonly #vm: HtabVm;
  readonly #claim: TableClaim;

  constructor(vm: HtabVm, host: HostModel | null) {
    this.#vm = vm;
    this.host = host;
    this.#claim = TableClaim.take(vm, 'replace', 'receiveHpt');
  }

  get backend(): BackendName {
    return this.#vm.backend;
  }

  begin(order: number): Promise<HtabHandle> {
    return openEmptyTable(this.#vm, order);
  }

  openRead(): Promise<HptReader> {
    return HptReader.openClaimed(this.#vm);
  }

  release(handle: HtabHandle): Promise<void> {
    return handle.close();
  }

  clear(order: number): Promise<void> {
    return this.#vm.allocateHpt(order);
  }

  close(): Promise<void> {
    this.#claim.release();
    return Promise.resolve();
  }
}

class TargetDescriptor implements Target {
  readonly host: HostModel | null;
  readonly #table: TargetTable;

  constructor(table: TargetTable, host: HostModel | null) {
    this.#table = table;
    this.host = host;
  }

  get backend(): BackendName {
    return this.#table.backend ?? 'kvm';
  }

  get order(): number {
    return this.#table.order;
  }

  get canReadBack(): boolean {
    return this.#table.openRead !== undefined;
  }

  async begin(order: number): Promise<HtabHandle> {
    await this.clear(order);
    return this.#table.handle;
  }

  async openRead(order: number): Promise<HptReader> {
    if (this.#table.openRead === undefined) {
      throw new HtabUnavailableError('unsupported', 'the table cannot be read back', 'give openRead');
    }
    return new HptReader(await this.#table.openRead(), { order });
  }

  release(): Promise<void> {
    // It is used again if the source comes back.
    return Promise.resolve();
  }

  /** A write descriptor can allocate nothing, but it can make every entry invalid. */
  async clear(order: number): Promise<void> {
    await new TableWriter(this.#table.handle).empty(order);
  }

  close(): Promise<void> {
    return this.#table.handle.close();
  }
}
