import { constants } from 'node:os';
import { checkBytes, checkInteger, outOfRangeError } from '../../base/arguments.js';
import { fillRecords, type PassState } from '../../records/fill-records.js';
import { MAX_STREAM_ORDER, tableBytes } from '../../hpt/geometry.js';
import { BaseHandle } from '../base-handle.js';
import { BaseVm } from '../base-vm.js';
import type { CallQueue } from '../call-queue.js';
import { type CallResult, checkResult } from '../call-result.js';
import type { OpenHtabOptions } from '../contract.js';
import { type EntrySink, writeLoop } from '../record-loop.js';
import { FlatTable, type Interest } from './flat-table.js';

const { EBADF, ENOMEM, ENOTTY } = constants.errno;

/**
 * A VM whose table this process keeps in its own memory, as user space does with PR-style KVM and with software
 * emulation: 16 bytes per entry, big-endian, entry n at byte 16 n.
 *
 * It answers as the kernel does (kernel-abi.md 2, 4, 5.1), with two differences. Returned entries carry neither the
 * kernel's lock bit nor any other bit that belongs to the table's keeper. And the table is resized by its owner, not
 * through the VM: PREPARE and COMMIT are ENOTTY, as with PR-style KVM.
 *
 * The owner changes {@link image} directly and says so with {@link markChanged}; what it does not announce,
 * {@link findChanges} finds.
 *
 * @example
 * const vm = ImageVm.fromImage(new Uint8Array(2 ** 18));
 * vm.markChanged(100); // after a change of entry 100 in the image
 */
export class ImageVm extends BaseVm {
  readonly backend = 'image';
  readonly #state: State = { table: undefined, readers: 0 };

  /**
   * A VM over a table that is there already.
   *
   * @param image the table itself, not copied: 2^18 to 2^36 bytes, aligned to 4
   * @throws TypeError for what is no Uint8Array
   * @throws RangeError for a size that no table has, or memory that is not aligned
   */
  static fromImage(image: Uint8Array): ImageVm {
    checkBytes('image', image);
    const vm = new ImageVm();
    vm.#state.table = new FlatTable(image, vm.#state);
    vm.findChanges();
    return vm;
  }

  get hptOrder(): number | undefined {
    return this.#state.table?.known.order;
  }

  /** The table's memory, the owner's to change; an allocation of another order replaces it. */
  get image(): Uint8Array | undefined {
    return this.#state.table?.image;
  }

  /**
   * Announces that the owner has changed `count` entries from `ptex` on. A valid entry counts as changed even if it is
   * what it was; one that was and is invalid does not (kernel-abi.md 3.2).
   *
   * @throws RangeError for entries the table does not have
   * @throws HtabStateError `lost` if the image's memory has been transferred away
   */
  markChanged(ptex: number, count = 1): void {
    const { table } = this.#state;
    if (table === undefined) throw outOfRangeError('ptex', 'an entry of the table, and there is none', ptex);
    checkInteger('ptex', ptex, 0, table.entryCount - 1);
    checkInteger('count', count, 0, table.entryCount - ptex);
    table.checkMemory();
    for (let index = ptex; index < ptex + count; index++) {
      if (table.take(index) || table.known.has(index)) table.mark(index);
    }
  }

  /**
   * Compares the image with what readers know, entry by entry, and marks what differs. Opening a read descriptor does
   * so too, so that its first pass is the table as it stands.
   *
   * @returns number of entries that differed
   * @throws HtabStateError `lost` if the image's memory has been transferred away
   */
  findChanges(): number {
    const { table } = this.#state;
    table?.checkMemory();
    return table?.takeAll() ?? 0;
  }

  protected override allocate(order: number): number {
    const { table } = this.#state;
    if (table?.known.order === order) {
      table.checkMemory();
      table.reset();
      return order;
    }
    this.#state.table = undefined;
    const image = order <= MAX_STREAM_ORDER ? zeroedImage(order) : undefined;
    if (image === undefined) return checkResult('KVM_PPC_ALLOCATE_HTAB', -ENOMEM);
    this.#state.table = new FlatTable(image, this.#state);
    return order;
  }

  protected override prepareResize(): number {
    return checkResult('KVM_PPC_RESIZE_HPT_PREPARE', -ENOTTY);
  }

  protected override commitResize(): void {
    checkResult('KVM_PPC_RESIZE_HPT_COMMIT', -ENOTTY);
  }

  protected override open(options: OpenHtabOptions): ImageHandle {
    this.#state.table?.checkMemory();
    if (options.access !== 'write') this.findChanges();
    return new ImageHandle(this.#state, options, this.queue);
  }

  protected override closeOnce(): void {
    // Open handles keep the table, as descriptors do in the kernel.
  }
}

/** What a VM and its handles share. */
interface State extends Interest {
  table: FlatTable | undefined;
}

class ImageHandle extends BaseHandle {
  readonly #state: State;
  readonly #pass: PassState;

  constructor(state: State, options: OpenHtabOptions, queue: CallQueue) {
    const { access = 'read', boltedOnly = false, startIndex = 0 } = options;
    super(access, queue);
    this.#state = state;
    this.#pass = { cursor: startIndex, firstPass: true, boltedOnly };
    if (access === 'read') state.readers++;
  }

  protected override readOnce(buffer: Uint8Array): number {
    if (this.access === 'write') return checkResult('read', -EBADF);
    return fillRecords(this.#state.table?.known, this.#pass, buffer);
  }

  protected override writeOnce(bytes: Uint8Array): number {
    return checkResult('write', this.#write(bytes));
  }

  #write(bytes: Uint8Array): CallResult {
    if (this.access === 'read') return -EBADF;
    this.#state.table?.checkMemory();
    return writeLoop(bytes, this.#state.table ?? NO_TABLE);
  }

  protected override closeOnce(): void {
    if (this.access === 'read') this.#state.readers--;
  }
}

/** Without a table every record is out of range. */
const NO_TABLE: EntrySink = { entryCount: 0, enter: () => false, removeRun: () => undefined };

/** An empty table's memory, or undefined if there is not enough. */
function zeroedImage(order: number): Uint8Array | undefined {
  try {
    return new Uint8Array(tableBytes(order));
  } catch {
    return undefined;
  }
}
