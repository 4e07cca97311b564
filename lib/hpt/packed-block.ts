import { type BitmapBlock, BLOCK_BITS, BLOCK_WORDS, type SparseBitmap, popcount } from './bitmap.js';
import { copyHptes } from './copy-hptes.js';
import { PackedWords } from './packed-words.js';
import type { RecordCounts, RecordSource } from './record-source.js';

/** The valid entries among 65,536 neighbouring ones: a block of the bitmap of valid entries, and their HPTEs. */
export class PackedBlock extends PackedWords {
  readonly #valid: SparseBitmap;
  /** Its block of the bitmap. */
  readonly #bits: BitmapBlock;

  /**
   * @param valid the bitmap: from here on the block's bits are changed here only
   * @param ptex any entry of the block
   * @param before the block below it, from which the room needed is guessed: a pass fills block after block, mostly as far
   *   as the one before. Without the guess arrays grow and are copied, a fifth more time for a first pass
   */
  constructor(valid: SparseBitmap, ptex: number, before: PackedBlock | undefined) {
    super(before?.held ?? 0);
    this.#valid = valid;
    this.#bits = valid.open(ptex);
  }

  /** Number of valid entries. */
  get validCount(): number {
    return this.held;
  }

  /** Number of full words whose HPTEs follow directly those of this one, which is full too. */
  fullAfter(word: number): number {
    let next = word + 1;
    let place = this.placeOf(word);
    while (next < BLOCK_WORDS && this.#bits[next] === 0xffffffff) {
      place += 32;
      if (this.placeOf(next) !== place) break;
      next++;
    }
    return next - word - 1;
  }

  /** @param more valid entries; negative: fewer */
  #adjustCount(more: number): void {
    this.held = (this.held + more) | 0;
    this.#valid.adjust(more);
  }

  /** Makes an entry valid; returns the place of its HPTE, for the caller to fill. */
  add(entry: number): number {
    return this.#insert(entry, 1);
  }

  /** Makes an entry invalid; returns whether it was valid. */
  delete(entry: number): boolean {
    const word = entry >>> 5;
    const bit = entry & 31;
    const bits = this.#bits[word]! | 0;
    if (((bits >>> bit) & 1) === 0) return false;
    this.#erase(word, 1 << bit);
    return true;
  }

  /**
   * Makes `valid` entries of the block valid, from number `first` on, and then `invalid` more invalid.
   *
   * @param longs holds the HPTEs, from `long` on
   */
  applyRecord(first: number, valid: number, invalid: number, longs: BigUint64Array, long: number): void {
    // Above all valid entries none has to become invalid.
    if (first >= this.reached && (valid === 0 || this.#appendRun(first, valid, longs, long))) return;
    const end = (first + valid) | 0;
    for (let entry = first, from = long; entry < end;) {
      const length = Math.min(32 - (entry & 31), end - entry);
      const place = this.#insert(entry, length);
      copyHptes(longs, from, this.longs, place << 1, length);
      entry += length;
      from += length << 1;
    }
    if (invalid > 0) this.#remove(end, (end + invalid) | 0);
  }

  /**
   * Applies records, from the source's current one on, while each lies above all valid entries and has those of one word: so do
   * nearly all records of a first pass. What a record changes is kept in local variables meanwhile, which saves a fifth
   * of the time of storing a sparse table.
   *
   * @param block number of this block in the table
   * @param counts receives what was applied
   * @returns whether the source's current record was not applied
   */
  applyRecords(records: RecordSource, block: number, counts: RecordCounts): boolean {
    const { longs } = this;
    const places = this.places | 0;
    const begun = this.used | 0;
    let used = begun;
    let reached = this.reached | 0;
    let word = -1;
    let bits = 0;
    let start = 0;
    let applied = 0;
    let invalid = 0;
    let more = true;
    try {
      while (more) {
        const { index } = records;
        const validCount = records.validCount | 0;
        const invalidCount = records.invalidCount | 0;
        const first = index & 0xffff;
        const end = (first + validCount) | 0;
        if (index >>> 16 !== block || first < reached || ((end + invalidCount) | 0) > BLOCK_BITS) break;
        if (validCount > 0) {
          if ((first & 31) + validCount > 32 || ((used + validCount) | 0) > places) break;
          if (first >>> 5 !== word) {
            this.#endAppended(word, bits, start, used);
            word = first >>> 5;
            bits = this.#bits[word]! | 0;
            const extent = this.extents[word]! | 0;
            start = bits === 0 ? used : extent >>> 12;
            if (bits !== 0 && ((start + (extent & 63)) | 0) !== used) {
              word = -1;
              break;
            }
          }
          copyHptes(records.longs, records.wordOffset >>> 1, longs, used << 1, validCount);
          bits |= (-1 >>> (32 - validCount)) << first;
          used = (used + validCount) | 0;
          reached = end;
        }
        applied++;
        invalid += invalidCount;
        more = records.next();
      }
    } finally {
      // Also where the next record is a bad one.
      this.#endAppended(word, bits, start, used);
      this.used = used;
      this.reached = reached;
      this.#adjustCount(used - begun);
      counts.records += applied;
      counts.validEntries += used - begun;
      counts.invalidEntries += invalid;
    }
    return more;
  }

  /** Notes a word whose HPTEs follow all others, up to place `end`. */
  #endAppended(word: number, bits: number, start: number, end: number): void {
    if (word === -1) return;
    const length = (end - start) | 0;
    this.extents[word] = (start << 12) | (length << 6) | length;
    this.#bits[word] = bits;
    this.#bits[BLOCK_WORDS + (word >>> 5)]! |= 1 << (word & 31);
  }

  /**
   * Makes entries valid that lie above all valid ones, as in a first pass every record's do: their HPTEs follow all
   * others in one piece, and no word has to be searched or moved.
   *
   * @returns false if they cannot: the first one's word ends elsewhere, or the array is full
   */
  #appendRun(first: number, count: number, longs: BigUint64Array, long: number): boolean {
    const begun = this.#bits[first >>> 5] === 0 ? -1 : this.extents[first >>> 5]! | 0;
    let place = this.used | 0;
    if (begun !== -1 && (begun >>> 12) + (begun & 63) !== place) return false;
    if (((place + count) | 0) > this.places) return false;
    copyHptes(longs, long, this.longs, place << 1, count);
    const end = (first + count) | 0;
    for (let entry = first | 0; entry < end;) {
      const word = entry >>> 5;
      const length = Math.min(32 - (entry & 31), (end - entry) | 0) | 0;
      const bits = this.#bits[word]! | 0;
      const extent = bits === 0 ? place << 12 : this.extents[word]! | 0;
      this.extents[word] = (extent + (length << 6) + length) | 0;
      this.#bits[word] = bits | ((-1 >>> (32 - length)) << entry);
      this.#bits[BLOCK_WORDS + (word >>> 5)]! |= 1 << (word & 31);
      place = (place + length) | 0;
      entry = (entry + length) | 0;
    }
    this.used = place;
    this.reached = end;
    this.#adjustCount(count);
    return true;
  }

  /** Makes the entries `from` up to but without `to`, one at least, invalid. */
  #remove(from: number, to: number): void {
    const last = (to - 1) >>> 5;
    for (let word = from >>> 5; word <= last; word++) {
      let gone = this.#bits[word]! | 0;
      if (word << 5 < from) gone &= -1 << (from & 31);
      if (word === last) gone &= -1 >>> (31 - ((to - 1) & 31));
      if (gone !== 0) this.#erase(word, gone);
      else if ((word & 31) === 0 && this.#bits[BLOCK_WORDS + (word >>> 5)] === 0) word += 31;
    }
  }

  /** Takes valid entries out of a word; `gone` are their bits. */
  #erase(word: number, gone: number): void {
    const { longs } = this;
    const bits = this.#bits[word]! | 0;
    const first = gone & -gone;
    let to = (this.placeOf(word) + popcount(bits & (first - 1))) << 1;
    let count = 0;
    for (let rest = bits & -first, from = to; rest !== 0; rest &= rest - 1, from += 2) {
      if ((rest & -rest & gone) !== 0) {
        count++;
        continue;
      }
      longs[to] = longs[from]!;
      longs[to + 1] = longs[from + 1]!;
      to += 2;
    }
    this.extents[word]! -= count;
    this.#bits[word] = bits & ~gone;
    if (bits === gone) this.#bits[BLOCK_WORDS + (word >>> 5)]! &= ~(1 << (word & 31));
    this.#adjustCount(-count);
    if (this.held === 0) this.clear();
  }

  /**
   * Makes entries of one word valid, whether they are or not.
   *
   * @returns place of the first HPTE; what stands there is for the caller to fill
   */
  #insert(first: number, length: number): number {
    const word = first >>> 5;
    const bit = first & 31;
    const bits = this.#bits[word]! | 0;
    const mask = (-1 >>> (32 - length)) << bit;
    const before = popcount(bits & ~(-1 << bit));
    const replaced = popcount(bits & mask);
    const added = length - replaced;
    let extent = this.extents[word]! | 0;
    if (added === 0) return (extent >>> 12) + before;
    const held = extent & 63;
    if (held + added > ((extent >>> 6) & 63)) {
      if (first < this.reached) this.inOrder = false;
      extent = this.room(word, added) | 0;
    }
    this.extents[word] = extent + added;
    const place = (extent >>> 12) + before;
    const after = held - before - replaced;
    if (after > 0) this.moveUp(place + replaced, after, added);
    this.#bits[word] = bits | mask;
    this.#bits[BLOCK_WORDS + (word >>> 5)]! |= 1 << (word & 31);
    this.reached = Math.max(this.reached, first + length);
    this.#adjustCount(added);
    return place;
  }
}
