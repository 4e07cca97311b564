// Records on their way: decoding a stream, and storing it into a table.
import { addon } from './baseline.mjs';
import { atLeast } from './cases.mjs';
import { RecordCursor, foldRecords } from './library.mjs';
import { contest } from './measure.mjs';
import { full, grouped, makeHpte, numbers, scattered } from './patterns.mjs';
import { Twin } from './tables.mjs';

const ORDER = 26;
const CHUNK_BYTES = 1 << 20;

/**
 * Adds what is left in the cursor to the totals: records, valid entries, invalid entries, sum of indexes.
 *
 * @param {import('../../lib/index.js').RecordCursor} cursor
 * @param {Float64Array} totals
 */
export function addRecords(cursor, totals) {
  let records = 0;
  let valid = 0;
  let invalid = 0;
  let indexes = 0;
  while (cursor.next()) {
    records++;
    valid += cursor.validCount;
    invalid += cursor.invalidCount;
    indexes += cursor.index;
  }
  for (const [at, count] of [records, valid, invalid, indexes].entries())
    totals[at] = (totals[at] ?? 0) + count;
}

/**
 * A stream of records with so many valid entries each, in chunks of whole records.
 *
 * @param {(next: () => number) => number} runLength
 * @param {(next: () => number) => number} gapLength
 */
function makeStream(runLength, gapLength) {
  const next = numbers(3);
  const hpte = new Uint32Array(4);
  /** @type {Uint8Array[]} */
  const chunks = [];
  let chunk = new DataView(new ArrayBuffer(CHUNK_BYTES));
  let used = 0;
  const finish = () => {
    chunks.push(new Uint8Array(chunk.buffer, 0, used));
    chunk = new DataView(new ArrayBuffer(CHUNK_BYTES));
    used = 0;
  };
  for (let index = 0; index < 2 ** (ORDER - 4) - 8192;) {
    const valid = runLength(next);
    const invalid = gapLength(next);
    if (used + 8 + valid * 16 > CHUNK_BYTES) finish();
    chunk.setUint32(used, index, true);
    chunk.setUint16(used + 4, valid, true);
    chunk.setUint16(used + 6, invalid, true);
    used += 8;
    for (let entry = 0; entry < valid; entry++, used += 16) {
      makeHpte(next, hpte);
      for (let word = 0; word < 4; word++) chunk.setUint32(used + word * 4, hpte[word] ?? 0);
    }
    index += valid + invalid;
  }
  finish();
  return chunks;
}

/** @param {Uint8Array[]} chunks */
function decode(chunks) {
  const entryCount = 2 ** (ORDER - 4);
  const ours = new Float64Array(4);
  const theirs = new Float64Array(4);
  const decodeOurs = () => {
    const cursor = new RecordCursor({ order: ORDER, ascending: true });
    ours.fill(0);
    for (const chunk of chunks) {
      cursor.push(chunk);
      addRecords(cursor, ours);
    }
    cursor.finish();
  };
  const decodeTheirs = () => {
    theirs.fill(0);
    for (const chunk of chunks) {
      if (!addon.decode(chunk, entryCount, theirs)) throw new Error('the baseline refuses a record');
    }
  };
  decodeOurs();
  decodeTheirs();
  if (ours.join() !== theirs.join()) throw new Error(`decoded ${ours.join()} and ${theirs.join()}`);
  return contest({ run: decodeOurs }, { run: decodeTheirs });
}

/** @param {import('./patterns.mjs').Pattern} pattern */
function store(pattern) {
  const twin = new Twin(ORDER, pattern);
  const chunks = twin.readBoth(true);
  const { table, flat, flatEntries } = twin;
  const emptyOurs = () => table.removeRun(0, table.entryCount);
  const emptyFlat = () => flatEntries.fill(0);
  const storeOurs = () => {
    const cursor = new RecordCursor({ order: ORDER, ascending: true });
    for (const chunk of chunks) {
      cursor.push(chunk);
      foldRecords(cursor, table);
    }
    cursor.finish();
  };
  const storeFlat = () => {
    for (const chunk of chunks) if (!flat.store(chunk)) throw new Error('the baseline refuses a record');
  };
  emptyOurs();
  emptyFlat();
  storeOurs();
  storeFlat();
  const stored = twin.readBoth(true);
  if (!Buffer.concat(stored).equals(Buffer.concat(chunks))) {
    throw new Error('what was stored reads differently');
  }
  return contest({ prepare: emptyOurs, run: storeOurs }, { prepare: emptyFlat, run: storeFlat });
}

/** @type {import('./cases.mjs').Case[]} */
export const records = [
  {
    name: 'decode, 4095 valid per record',
    ...atLeast(0.85),
    run: () =>
      decode(
        makeStream(
          () => 4095,
          () => 1,
        ),
      ),
  },
  {
    name: 'decode, 1-2 valid per record',
    ...atLeast(0.5),
    run: () =>
      decode(
        makeStream(
          (next) => 1 + (next() & 1),
          (next) => 1 + (next() & 15),
        ),
      ),
  },
  { name: 'store, 12.5 %', ...atLeast(1), run: () => store(grouped(0.125)) },
  { name: 'store, 50 %', ...atLeast(0.8), run: () => store(scattered(0.5)) },
  { name: 'store, full', ...atLeast(0.9), run: () => store(full) },
];
