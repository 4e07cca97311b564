import { HtabSystemError } from '../base/errors.js';
import { HEADER_BYTES, writeHeader } from '../records/header.js';
import { fillRecords, type PassState } from '../records/fill-records.js';
import { entryCount, MIN_ORDER } from '../hpt/geometry.js';
import type { HptTable } from '../hpt/table.js';
import { writeExplained } from './refusal.js';
import type { HtabHandle, HtabVm } from '../vm/contract.js';

const BUFFER_BYTES = 1 << 20;
/** Entries of the smallest table: any table ends where a run of as many does. */
const RUN = entryCount(MIN_ORDER);
const RUNS_PER_CALL = 4096;

/** Gives a VM an empty table of this order, and opens it for writing. */
export async function openEmptyTable(vm: HtabVm, order: number): Promise<HtabHandle> {
  await vm.allocateHpt(order);
  return vm.openHtab({ access: 'write' });
}

/** Gives a VM this table, as a restored guest gets it: through a write descriptor. */
export async function loadTable(vm: HtabVm, table: HptTable): Promise<void> {
  await using handle = await openEmptyTable(vm, table.order);
  await new TableWriter(handle).write(table);
}

/** Writes whole tables through a write descriptor. */
export class TableWriter {
  readonly #handle: HtabHandle;
  #touched = false;

  constructor(handle: HtabHandle) {
    this.#handle = handle;
  }

  /** Whether anything may have reached the target's table. */
  get touched(): boolean {
    return this.#touched;
  }

  /**
   * Writes every entry of the table's range, valid or not.
   *
   * @param onProgress is given the part that has been written, 0..1
   * @throws HtabSystemError for an entry that is refused, with its ptex and the likely cause
   */
  async write(
    table: HptTable,
    {
      signal,
      onProgress,
    }: {
      readonly signal?: AbortSignal | undefined;
      readonly onProgress?: (written: number) => void;
    } = {},
  ): Promise<void> {
    const state: PassState = { cursor: 0, firstPass: true, boltedOnly: false };
    const buffer = new Uint8Array(BUFFER_BYTES);
    while (state.firstPass) {
      signal?.throwIfAborted();
      const records = buffer.subarray(0, fillRecords(table, state, buffer));
      try {
        await writeExplained(this.#handle, records);
      } catch (error) {
        // A running vcpu is seen before anything is applied (kernel-abi.md 4.1); any other refusal may have removed entries.
        const { errnoName, bytesApplied } = error as Partial<HtabSystemError>;
        if (errnoName !== 'EBUSY' || bytesApplied !== 0) this.#touched = true;
        throw error;
      }
      this.#touched = true;
      onProgress?.(state.cursor === 0 ? 1 : state.cursor / table.entryCount);
    }
  }

  /**
   * Makes every entry invalid.
   *
   * @param order of the target's table, or a larger one if it is not known
   */
  async empty(order: number): Promise<void> {
    const end = entryCount(order);
    const runs = Math.min(end / RUN, RUNS_PER_CALL);
    for (let first = 0; first < end; first += runs * RUN) {
      try {
        await this.#handle.writeRecords(removals(first, runs));
      } catch (error) {
        // A run that is refused as out of range lies wholly beyond the table's end, and all before it is done.
        if (error instanceof HtabSystemError && error.errnoName === 'EINVAL' && error.ptex !== 0) return;
        throw error;
      }
    }
  }
}

/** Records that make `runs` runs of entries from `first` on invalid. */
function removals(first: number, runs: number): Uint8Array {
  const records = new Uint8Array(runs * HEADER_BYTES);
  for (let run = 0; run < runs; run++) {
    writeHeader(records, run * HEADER_BYTES, { index: first + run * RUN, validCount: 0, invalidCount: RUN });
  }
  return records;
}
