/**
 * What every backend offers: a VM whose hashed page table is read and written through HTAB descriptors.
 *
 * This level is the kernel as it is, quirks included; passes, streams and their safety live in `lib/io`.
 * Every failed system call rejects with `HtabSystemError`, of the same errno and name on every backend.
 */

export type BackendName = 'kvm' | 'emulated' | 'image';

/** How an HTAB descriptor is opened (`KVM_PPC_GET_HTAB_FD`, kernel-abi.md 1.2). */
export interface OpenHtabOptions {
  /** A descriptor either reads or writes. Default `read`. */
  readonly access?: 'read' | 'write';
  /** Report entries that are not bolted as invalid; a read descriptor's only (kernel-abi.md 2.6). Default false. */
  readonly boltedOnly?: boolean;
  /** ptex at which the first pass begins; the first pass covers it to the end of the table, 0..2^53 - 1. Default 0. */
  readonly startIndex?: number;
  /** Ends the opening with its reason; `createReadStream` destroys its stream with it at any time. */
  readonly signal?: AbortSignal | undefined;
}

/** A virtual machine that has, or may be given, a hashed page table. */
export interface HtabVm extends AsyncDisposable {
  readonly backend: BackendName;
  /**
   * log2 of the table's bytes, 18..46; undefined while there is no table, or where it cannot be known. From 37 on a
   * descriptor cannot name all entries (kernel-abi.md 2.1): `HptReader` and the streams refuse such a table.
   */
  readonly hptOrder: number | undefined;
  /**
   * Gives the VM an empty table of this order (`KVM_PPC_ALLOCATE_HTAB`). Orders 37..46 exist in KVM, but `HptReader` and
   * the streams refuse them, and a host that has not that much memory answers ENOMEM and frees the old table first.
   *
   * @throws RangeError outside 18..46: the kernel would free the live table first, and order 0 can crash it.
   * @throws HtabSystemError EBUSY while a vcpu runs; ENOMEM (the old table is gone then)
   * @throws HtabUnavailableError `refused` if the kernel gave a table of another order, as old kernels do: the guest has it,
   *   and {@link hptOrder} tells its order
   */
  allocateHpt(order: number): Promise<void>;
  /** Starts or asks after the preparation of a resize; the kernel's own answer: ms to wait, 0 = ready. Order 0 cancels. */
  prepareHptResize(order: number): Promise<number>;
  /**
   * Moves the bolted entries to the prepared table and makes it the VM's (kernel-abi.md 5.3). Two bolted entries that
   * would meet in a table that is not smaller crash the kernel, and it is not asked here whether there are any:
   * `resizeHpt` does, waits for the preparation and leaves nothing half done.
   */
  commitHptResize(order: number): Promise<void>;
  openHtab(options?: OpenHtabOptions): Promise<HtabHandle>;
  /** Closes what the VM object holds. Open handles go on working, as descriptors do. Idempotent. */
  close(): Promise<void>;
}

/**
 * One open HTAB descriptor. Calls on one handle run one after the other, in the order they were made.
 *
 * Memory given to a call is lent until its promise settles: it must not be touched meanwhile, as another thread may write to
 * it. If it is transferred away or shrunk, the call rejects, and what a read brought is lost (EFAULT).
 */
export interface HtabHandle extends AsyncDisposable {
  readonly access: 'read' | 'write';
  /**
   * Exactly one read(2); the kernel's own return value.
   *
   * @param buffer more than 24 bytes, or the kernel returns 0 and changes nothing; its last byte is never used
   */
  read(buffer: Uint8Array): Promise<number>;
  /**
   * New memory for {@link read} on each call, which is filled without a copy. Other memory is copied into, because JavaScript
   * could have it freed while the kernel writes to it. It is not for `postMessage`: another thread gets a copy, or an error.
   * Missing where all memory is alike.
   *
   * @param bytes its length
   */
  readBuffer?(bytes: number): Uint8Array;
  /**
   * Exactly one write(2) of one record: of several, the kernel destroys entries (kernel-abi.md 4.3). Prefer
   * {@link writeRecords}, which takes any number and says which one was refused.
   *
   * @returns the kernel's own return value: 0 means that nothing was applied, because the record is not all there; it
   *   can also be more than the bytes given (kernel-abi.md 4.2)
   */
  write(bytes: Uint8Array): Promise<number>;
  /**
   * Whole records, one write(2) each, in order.
   *
   * @returns bytes applied: all of them
   * @throws HtabSystemError with `bytesApplied` (whole records before it) and `recordIndex` of the record refused
   * @throws HtabStateError `lost`, with the same fields, where a write took another length than the record's
   * @throws HtabFormatError where the bytes do not end with a record's end; nothing has been applied then
   */
  writeRecords(bytes: Uint8Array): Promise<number>;
  /** Waits for I/O in flight, then closes. Idempotent. */
  close(): Promise<void>;
}
