import { expect, test } from 'vitest';
import { SeededRandom } from '../../../lib/base/random.js';
import { HptTable } from '../../../lib/hpt/table.js';
import { RecordCursor } from '../../../lib/records/cursor.js';
import { foldRecords } from '../../../lib/records/fold-records.js';
import { EmulatedVm } from '../../../lib/vm/emulated/emulated-vm.js';
import { H_CLEAR_MOD, H_ENTER, H_REMOVE } from '../../../lib/vm/emulated/hcalls.js';
import type { HtabFile } from '../../../lib/vm/emulated/htab-file.js';

const EXACT = 1n << 39n;
const CHANGED = 0x80n;
const PAGES = 256;
const STORES = 100_000;

/** A guest of 256 pages that stores at random and keeps changing its table; what it knows of both. */
class Guest {
  readonly vm: EmulatedVm;
  /** Pages stored to since they were last in a log. */
  readonly unlogged = new Set<number>();
  /** Entries that have C. */
  readonly changed = new Set<number>();
  /** Pages that no log will have: POWER8 loses them. */
  readonly lost = new Set<number>();
  readonly #random: SeededRandom;
  readonly #mapped = new Set<number>();

  constructor(vm: EmulatedVm, random: SeededRandom) {
    this.vm = vm;
    this.#random = random;
  }

  step(): void {
    const page = this.#random.below(PAGES);
    if (!this.#mapped.has(page)) this.#enter(page);
    if (this.#random.chance(0.05)) this.#call(page, H_REMOVE);
    else if (this.#random.chance(0.05)) this.#call(page, H_CLEAR_MOD);
    else this.#store(page);
  }

  #enter(page: number): void {
    const args = [EXACT, BigInt(page * 8), 1n, (BigInt(page) << 16n) | 0x12n];
    expect(this.vm.hcall(H_ENTER, args)[0]).toBe(0n);
    this.#mapped.add(page);
  }

  #store(page: number): void {
    expect(this.vm.access(page * 8, { store: true })).toBe('ok');
    this.unlogged.add(page);
    this.lost.delete(page);
    this.changed.add(page);
  }

  #call(page: number, opcode: number): void {
    expect(this.vm.hcall(opcode, [0n, BigInt(page * 8)])[0]).toBe(0n);
    this.changed.delete(page);
    if (opcode === H_REMOVE) this.#mapped.delete(page);
    if (this.vm.host === 'power8' && this.unlogged.delete(page)) this.lost.add(page);
  }
}

test.each(['power8', 'power9'] as const)(
  'on %s the dirty log and the passes take nothing from each other in 100,000 stores (3.3)',
  async (host) => {
    const region = { guestAddress: 0n, size: BigInt(PAGES) << 16n, hostPageShift: 16, populated: true };
    const vm = new EmulatedVm({ host, memoryRegions: [region] });
    await vm.allocateHpt(18);
    const random = new SeededRandom(13);
    const guest = new Guest(vm, random);
    const file = vm.openFile(0, 0) as HtabFile;
    const fold = new HptTable(18);
    let everLost = 0;
    for (let stores = 0; stores < STORES; stores++) {
      guest.step();
      if (random.chance(0.01)) readPass(file, fold);
      if (!random.chance(0.01)) continue;
      everLost += guest.lost.size;
      expect(new Set(pagesOf(vm.getDirtyLog(0)))).toEqual(guest.unlogged);
      guest.unlogged.clear();
    }
    readPass(file, fold);
    for (let page = 0; page < PAGES; page++) {
      const changed = ((fold.get(page * 8)?.r ?? 0n) & CHANGED) !== 0n;
      expect([page, changed]).toEqual([page, guest.changed.has(page)]);
    }
    expect(everLost > 0).toBe(host === 'power8');
  },
);

/** Reads to the end of the table. */
function readPass(file: HtabFile, fold: HptTable): void {
  const buffer = new Uint8Array(1 << 17);
  const cursor = new RecordCursor({ order: 18 });
  cursor.push(buffer.subarray(0, file.read(buffer)));
  foldRecords(cursor, fold);
}

function pagesOf(bitmap: Uint8Array): number[] {
  return Array.from({ length: PAGES }, (_, page) => page).filter(
    (page) => (bitmap[page >> 3]! >> (page & 7)) & 1,
  );
}
