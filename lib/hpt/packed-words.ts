import { BLOCK_WORDS } from './bitmap.js';
import { copyHptes } from './copy-hptes.js';

const MIN_PLACES = 64;
/** Places that make room for every entry of a block. */
const MAX_PLACES = 65_536;

/**
 * HPTEs of the words of a block, 32 entries each. Those of a word stand packed, in ascending order, so memory costs what
 * is there, not what could be. Words stand side by side in one array. One that outgrows its place moves to the end, and
 * when the array is full all of them move to a larger one, in ascending order again: so a pass reads memory forward, in
 * whatever order a guest has made its entries. Where a third of the entries is valid, each word gets room for all of
 * its own and stays there.
 */
export class PackedWords {
  /** The HPTEs, two doublewords a place, in the byte order of the stream. */
  longs: BigUint64Array;
  /** The same memory in words. */
  words: Uint32Array;
  /** The same memory, for single entries: V8 makes one instruction of a big-endian load. */
  view: DataView;
  /** By word: place of its first HPTE << 12 | places it has << 6 | places in use. */
  protected readonly extents = new Uint32Array(BLOCK_WORDS);
  protected places: number;
  /** Places given to words, from 0 on. */
  protected used = 0;
  /** No entry from this one on has an HPTE. */
  protected reached = 0;
  /** The HPTEs of each word follow those of the word before it. */
  protected inOrder = true;
  /** HPTEs in all words. */
  protected held = 0;
  /** The same when words last moved to another array. */
  #heldBefore = 0;

  /** @param likely HPTEs that are likely to come; 0: nothing is known */
  constructor(likely: number) {
    this.places = likelySize(likely);
    this.longs = new BigUint64Array(this.places * 2);
    this.words = new Uint32Array(this.longs.buffer);
    this.view = new DataView(this.longs.buffer);
  }

  /** Place of a word's first HPTE; the others follow in ascending order. */
  placeOf(word: number): number {
    return this.extents[word]! >>> 12;
  }

  /** Forgets the places of words that hold nothing any more: what comes next stands in a row again. */
  protected clear(): void {
    this.extents.fill(0);
    this.used = 0;
    this.reached = 0;
    this.inOrder = true;
  }

  /** Moves `count` HPTEs up by some places. A call of `copyWithin` takes longer than all 31 that there can be. */
  protected moveUp(place: number, count: number, by: number): void {
    const { longs } = this;
    const start = place << 1;
    const distance = by << 1;
    for (let long = start + (count << 1) - 1; long >= start; long--) longs[long + distance] = longs[long]!;
  }

  /** Gives a word room for `more` HPTEs; returns its extent. */
  protected room(word: number, more: number): number {
    const extent = this.extents[word]! | 0;
    const needed = (extent & 63) + more;
    const has = (extent >>> 6) & 63;
    const used = this.used;
    const place = has === 0 ? used : extent >>> 12;
    if (place + has === used && place + needed <= this.places) {
      // No HPTEs follow: words filled in ascending order never move.
      this.used = place + needed;
      return (place << 12) | (needed << 6) | (extent & 63);
    }
    return this.#move(word, needed);
  }

  /** {@link room} for a word that cannot stay where it is. */
  #move(word: number, needed: number): number {
    const held = this.extents[word]! & 63;
    const places = held === 0 ? needed : roomy(needed);
    if (this.used + places > this.places) {
      this.#rebuild(places);
      const extent = this.extents[word]! | 0;
      return needed <= ((extent >>> 6) & 63) ? extent : this.room(word, needed - held);
    }
    const place = this.used;
    copyHptes(this.longs, this.placeOf(word) << 1, this.longs, place << 1, held);
    this.used += places;
    return (place << 12) | (places << 6) | held;
  }

  /** Moves all words to an array with room for `more` HPTEs, in ascending order. */
  #rebuild(more: number): void {
    // A block that fills up is packed tightly; in one where entries come and go, words keep a place for the next to come.
    const spare = this.held > this.#heldBefore * 1.25 ? 0 : 1;
    this.#heldBefore = this.held;
    const inRow = this.inOrder && this.used === this.held && this.held + more <= MAX_PLACES;
    const places = sizeFor(more + (inRow ? this.held : this.#placesToKeep(spare)));
    const longs = new BigUint64Array(places * 2);
    if (inRow) longs.set(this.longs.subarray(0, this.used << 1));
    else this.#moveAll(longs, spare);
    this.inOrder = true;
    this.places = places;
    this.longs = longs;
    this.words = new Uint32Array(longs.buffer);
    this.view = new DataView(longs.buffer);
  }

  #placesToKeep(spare: number): number {
    let places = 0;
    const end = (this.reached + 31) >>> 5;
    for (let word = 0; word < end; word++) places += placesToKeep(this.extents[word]!, spare);
    return places;
  }

  #moveAll(longs: BigUint64Array, spare: number): void {
    const extents = this.extents;
    // Where there is room for all entries of the block, each word gets its own.
    const isFull = longs.length === MAX_PLACES * 2;
    const end = isFull ? BLOCK_WORDS : (this.reached + 31) >>> 5;
    this.used = 0;
    for (let word = 0; word < end; word++) {
      const held = extents[word]! & 63;
      const has = isFull ? 32 : placesToKeep(extents[word]!, spare);
      copyHptes(this.longs, this.placeOf(word) << 1, longs, this.used << 1, held);
      extents[word] = has === 0 ? 0 : (this.used << 12) | (has << 6) | held;
      this.used += has;
    }
  }
}

/**
 * Places of an array that has to hold so many: half as many again, in sizes that recur, so that what one block has
 * outgrown serves another and the heap stays whole.
 */
function sizeFor(wanted: number): number {
  const places = Math.ceil((wanted * 1.5) / MIN_PLACES) * MIN_PLACES;
  return places > MAX_PLACES / 2 ? MAX_PLACES : places;
}

/** Places of an array for about so many, in sizes that recur. */
function likelySize(held: number): number {
  return Math.min(Math.ceil((held * 1.0625 + 1) / MIN_PLACES) * MIN_PLACES, MAX_PLACES);
}

/** Places for a word that has outgrown its own: some more than it needs, so that the next entry does not move it again. */
function roomy(needed: number): number {
  return 1 << (32 - Math.clz32(needed - 1));
}

/** Places of a word in a new array: as many as it holds HPTEs, and spare ones if it has them. */
function placesToKeep(extent: number, spare: number): number {
  const held = extent & 63;
  return held === 0 ? 0 : Math.min((extent >>> 6) & 63, held + spare);
}
