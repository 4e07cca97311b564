import { invalidValue, invalidType } from '../arguments.js';
import { HtabStateError, HtabUnavailableError } from '../errors.js';
import { MAX_STREAM_ORDER, checkOrder } from '../hpt/geometry.js';
import { HptReader } from '../io/reader.js';
import { streamOrder } from '../io/stream-order.js';
import { TableWriter } from '../io/table-writer.js';
import { isHandle, isVm } from '../io/vm-or-handle.js';
import type { BackendName, HtabHandle, HtabVm } from '../vm/contract.js';
import { hostOf, type HostModel } from '../vm/host.js';
import { migrationError } from './failure.js';

/** A table to be moved of which only a descriptor is here, such as one that a VMM has handed over. */
export interface SourceTable {
  /** A read descriptor that has not been read from. It is the migration's from here on, which closes it, whatever its end is. */
  readonly handle: HtabHandle;
  /** log2 of the table's bytes, 18..36: the descriptor does not tell. */
  readonly order: number;
  /** Kind of VM; default `kvm`. */
  readonly backend?: BackendName;
  /** Another fresh read descriptor: without it a reader that has lost changes cannot begin again. */
  readonly reopen?: () => Promise<HtabHandle>;
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

/** How a source is reached, whatever it is. */
export interface SourceAccess {
  readonly backend: BackendName;
  readonly host: HostModel | null;
  /** Whether {@link open} can be called again. */
  readonly canReopen: boolean;
  /** Whether {@link order} tells the order of another table, should there be one. */
  readonly knowsOrder: boolean;
  /** @throws HtabError if there is no table that could be moved */
  order(): number;
  /** A reader at the beginning of its first pass. */
  open(bufferBytes: number): Promise<HptReader>;
  /** A fresh read descriptor beside the reader's, at this entry or, where that cannot be chosen, at the first. */
  openBeside(startIndex: number): Promise<HtabHandle>;
}

/** How a target is reached, whatever it is. */
export interface TargetAccess {
  readonly backend: BackendName;
  readonly host: HostModel | null;
  readonly canReadBack: boolean;
  /** Makes the table empty, and of this order; gives a write descriptor that is to be closed with {@link release}. */
  begin(order: number): Promise<HtabHandle>;
  openRead(order: number): Promise<HptReader>;
  release(handle: HtabHandle): Promise<void>;
  /** Empties the table again. */
  clear(order: number): Promise<void>;
  close(): Promise<void>;
}

export async function sourceAccess(
  source: HtabVm | SourceTable,
  host: HostModel | undefined,
): Promise<SourceAccess> {
  return isVm(source)
    ? new SourceVm(source, await hostOf(source, source.backend, host))
    : new SourceDescriptor(source, await hostOf(undefined, source.backend ?? 'kvm', host));
}

export async function targetAccess(
  target: HtabVm | TargetTable,
  host: HostModel | undefined,
): Promise<TargetAccess> {
  return isVm(target)
    ? new TargetVm(target, await hostOf(target, target.backend, host))
    : new TargetDescriptor(target, await hostOf(undefined, target.backend ?? 'kvm', host));
}

/**
 * @throws TypeError for what is neither a VM nor a table with a handle: there is nothing to close then
 */
export function checkEndpoint(name: string, value: unknown): void {
  if (isVm(value) || isHandle((value as Partial<SourceTable> | null | undefined)?.handle)) return;
  throw invalidType(name, 'an HtabVm, or an object with a "handle" that is an HtabHandle', value);
}

/** @throws TypeError, RangeError for a descriptor of the wrong kind, or an order that cannot be */
export function checkDescriptor(
  { handle, order }: SourceTable | TargetTable,
  access: 'read' | 'write',
): void {
  checkOrder(order, MAX_STREAM_ORDER);
  if (handle.access === access) return;
  throw invalidValue(`The "handle" argument must be open for ${access === 'read' ? 'reading' : 'writing'}`);
}

class SourceVm implements SourceAccess {
  readonly canReopen = true;
  readonly knowsOrder = true;
  readonly host: HostModel | null;
  readonly #vm: HtabVm;

  constructor(vm: HtabVm, host: HostModel | null) {
    this.#vm = vm;
    this.host = host;
  }

  get backend(): BackendName {
    return this.#vm.backend;
  }

  order(): number {
    const order = streamOrder(this.#vm);
    if (order !== undefined) return order;
    throw migrationError('the source has no hashed page table, or does not know its order');
  }

  open(bufferBytes: number): Promise<HptReader> {
    // A channel may hold on to the bytes it has taken, so buffers are not used twice.
    return HptReader.open(this.#vm, { bufferBytes, recycle: false });
  }

  openBeside(startIndex: number): Promise<HtabHandle> {
    return this.#vm.openHtab({ startIndex });
  }
}

class SourceDescriptor implements SourceAccess {
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

  get canReopen(): boolean {
    return this.#table.reopen !== undefined;
  }

  order(): number {
    return this.#table.order;
  }

  async open(bufferBytes: number): Promise<HptReader> {
    const handle = this.#used ? await this.openBeside() : this.#table.handle;
    this.#used = true;
    return new HptReader(handle, { order: this.#table.order, bufferBytes, recycle: false });
  }

  async openBeside(): Promise<HtabHandle> {
    if (this.#table.reopen !== undefined) return this.#table.reopen();
    throw new HtabStateError('lost', 'the source has given one descriptor, and cannot give another');
  }
}

class TargetVm implements TargetAccess {
  readonly canReadBack = true;
  readonly host: HostModel | null;
  readonly #vm: HtabVm;

  constructor(vm: HtabVm, host: HostModel | null) {
    this.#vm = vm;
    this.host = host;
  }

  get backend(): BackendName {
    return this.#vm.backend;
  }

  async begin(order: number): Promise<HtabHandle> {
    await this.#vm.allocateHpt(order);
    return this.#vm.openHtab({ access: 'write' });
  }

  openRead(): Promise<HptReader> {
    return HptReader.open(this.#vm);
  }

  release(handle: HtabHandle): Promise<void> {
    return handle.close();
  }

  clear(order: number): Promise<void> {
    return this.#vm.allocateHpt(order);
  }

  close(): Promise<void> {
    return Promise.resolve();
  }
}

class TargetDescriptor implements TargetAccess {
  readonly host: HostModel | null;
  readonly #table: TargetTable;

  constructor(table: TargetTable, host: HostModel | null) {
    this.#table = table;
    this.host = host;
  }

  get backend(): BackendName {
    return this.#table.backend ?? 'kvm';
  }

  get canReadBack(): boolean {
    return this.#table.openRead !== undefined;
  }

  async begin(order: number): Promise<HtabHandle> {
    if (order !== this.#table.order) {
      throw migrationError(`the source's table has order ${order}, the target's ${this.#table.order}`);
    }
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
