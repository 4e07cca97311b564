import { constants } from 'node:os';
import { type PassState, fillRecords } from '../../records/fill-records.js';
import { HPTE_R_C, HPTE_R_R } from '../../hpt/hpte-bits.js';
import { HEADER_BYTES } from '../../records/header.js';
import { HPTE_BYTES } from '../../hpt/geometry.js';
import type { CallResult } from '../call-result.js';
import { GET_HTAB_BOLTED_ONLY, GET_HTAB_WRITE } from '../ioctls.js';
import { type EntrySink, writeLoop } from '../record-loop.js';
import type { EntryState } from './entry-state.js';
import { H_SUCCESS } from './mmu.js';
import { type Guest, VRMA_V_HIGH, VRMA_V_LOW } from './guest.js';

const { EBADF, EBUSY, EINVAL } = constants.errno;

/** One open HTAB descriptor (kernel-abi.md 2 and 4). */
export class HtabFile {
  readonly #guest: Guest;
  readonly #writes: boolean;
  readonly #pass: PassState;
  #open = true;

  /** @internal */
  constructor(guest: Guest, flags: number, startIndex: number) {
    this.#guest = guest;
    this.#writes = (flags & GET_HTAB_WRITE) !== 0;
    this.#pass = { cursor: startIndex, firstPass: true, boltedOnly: (flags & GET_HTAB_BOLTED_ONLY) !== 0 };
    if (!this.#writes) guest.mmu.readers++;
  }

  /** The last close(2). */
  release(): void {
    if (this.#open && !this.#writes) this.#guest.mmu.readers--;
    this.#open = false;
  }

  /** read(2). */
  read(buffer: Uint8Array): CallResult {
    if (this.#writes || !this.#open) return -EBADF;
    const { entries, radix } = this.#guest;
    if (radix) return 0;
    const from = this.#pass.cursor;
    const bytes = fillRecords(entries?.table, this.#pass, buffer);
    if (entries !== undefined && buffer.length > 24) {
      const to = this.#pass.cursor === 0 ? entries.table.entryCount : this.#pass.cursor;
      harvest(entries, from, to, buffer, bytes);
      entries.modifiedToo.deleteRange(from, to);
    }
    return bytes;
  }

  /**
   * write(2).
   *
   * @throws HtabFormatError where the kernel would take bytes beyond the buffer (kernel-abi.md 0, trap 2)
   */
  write(bytes: Uint8Array): CallResult {
    const guest = this.#guest;
    if (!this.#writes || !this.#open) return -EBADF;
    if (guest.radix) return -EINVAL;
    if (guest.mmuReady && guest.runningVcpus > 0) return -EBUSY;
    return writeLoop(bytes, new GuestEntries(guest));
  }
}

/** The guest's table as the record loop of a write sees it. */
class GuestEntries implements EntrySink {
  readonly entryCount: number;
  readonly #guest: Guest;

  constructor(guest: Guest) {
    this.#guest = guest;
    this.entryCount = guest.entries?.table.entryCount ?? 0;
  }

  enter(ptex: number, vHigh: number, vLow: number, rHigh: number, rLow: number, pageShift: number): boolean {
    const { entries, mmu } = this.#guest;
    // The old entry goes first: a refusal leaves none.
    if (entries!.table.has(ptex)) mmu.remove(entries!, ptex);
    if (mmu.enter(entries!, ptex, vHigh, vLow, rHigh, rLow) !== H_SUCCESS) return false;
    if (isVrma(vHigh, vLow)) this.#guest.noteVrma(pageShift);
    return true;
  }

  removeRun(ptex: number, count: number): void {
    const { entries, mmu } = this.#guest;
    const { valid } = entries!.table;
    const end = ptex + count;
    for (let at = valid.next(ptex, end); at < end; at = valid.next(at + 1, end)) mmu.remove(entries!, at);
  }
}

/** Whether an entry maps the real-mode area. */
export function isVrma(vHigh: number, vLow: number): boolean {
  return vHigh === VRMA_V_HIGH && (vLow & 0xff000000) >>> 0 === VRMA_V_LOW;
}

/**
 * The hardware's R and C of the entries a read has passed, `from` up to `to`: into the table and into the bytes just
 * read. The kernel harvests entry by entry as it reads (kernel-abi.md 3); nothing else of the record depends on it.
 */
function harvest(entries: EntryState, from: number, to: number, buffer: Uint8Array, bytes: number): void {
  const { pending, table } = entries;
  const hpte = new Uint32Array(4);
  const view = new DataView(buffer.buffer, buffer.byteOffset, bytes);
  let record = 0;
  for (let ptex = pending.next(from, to); ptex < to; ptex = pending.next(ptex + 1, to)) {
    table.load(ptex, hpte);
    const rLow = hpte[3]! | (entries.hardwareBits(ptex) & (HPTE_R_R | HPTE_R_C));
    table.store(ptex, hpte[0]!, hpte[1]!, hpte[2]!, rLow);
    pending.delete(ptex);
    while (record < bytes && ptex >= view.getUint32(record, true) + view.getUint16(record + 4, true)) {
      // A valid entry may stand among a record's invalid ones, where only bolted entries are reported.
      if (
        ptex <
        view.getUint32(record, true) + view.getUint16(record + 4, true) + view.getUint16(record + 6, true)
      )
        break;
      record += HEADER_BYTES + view.getUint16(record + 4, true) * HPTE_BYTES;
    }
    if (record >= bytes) continue;
    const entry = ptex - view.getUint32(record, true);
    if (entry >= 0 && entry < view.getUint16(record + 4, true)) {
      view.setUint32(record + HEADER_BYTES + entry * HPTE_BYTES + 12, rLow);
    }
  }
}
