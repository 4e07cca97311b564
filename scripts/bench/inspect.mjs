// Looking into a table: all that is counted of what is valid, and the way from a file to there.
import { Readable, Writable } from 'node:stream';
import { addon } from './baseline.mjs';
import { atLeast } from './cases.mjs';
import {
  HptTable,
  encodeAvpn,
  encodeHpte,
  hashPage,
  linuxPage,
  primaryGroup,
  secondaryGroup,
  readSnapshot,
  tableMap,
  tableStats,
  writeTable,
} from './library.mjs';
import { contest } from './measure.mjs';
import { numbers } from './patterns.mjs';
import { readTable } from './tables.mjs';

const ORDER = 26;
const CONTEXTS = 256;
const GIB_PAGES = 2 ** 14;

/** @typedef {import('../../lib/index.js').TableStats} TableStats */

/**
 * An entry of a Linux guest: a page of 64K of the kernel or of a process, somewhere in 16 GiB.
 *
 * @param {() => number} next
 */
function randomEntry(next) {
  const context = 1 + (next() % CONTEXTS);
  const offset = (next() % (GIB_PAGES * 16)) * 2 ** 16;
  const page = linuxPage({ context, effectiveAddress: BigInt(offset), segment: '1T', basePageShift: 16 });
  const kernel = context < 8;
  const { v, r } = encodeHpte({
    valid: true,
    bolted: kernel,
    segment: '1T',
    basePageShift: 16,
    guestAddress: BigInt(next()) << 16n,
    pp: kernel ? 0 : 2,
    wimg: 2,
    noExecute: next() % 8 !== 0,
    referenced: true,
    changed: next() % 2 === 0,
  });
  return { page, v: v | encodeAvpn(page), r };
}

/**
 * A table that a guest has filled as the hash leads, kept by the library and as a flat array.
 *
 * @param {number} share of the entries that the guest tries to make valid
 */
function guestTable(share) {
  const table = new HptTable(ORDER);
  const flatEntries = new Uint32Array(table.entryCount * 4);
  const bytes = new DataView(flatEntries.buffer);
  const next = numbers(5);
  for (let left = table.entryCount * share; left > 0; left--) {
    const { page, v, r } = randomEntry(next);
    const hash = hashPage(page);
    const first = primaryGroup(hash, ORDER) * 8;
    const second = secondaryGroup(hash, ORDER) * 8;
    for (let slot = 0; slot < 16; slot++) {
      const ptex = slot < 8 ? first + slot : second + slot - 8;
      if (table.has(ptex)) continue;
      const hashed = slot < 8 ? v : v | 2n;
      table.set(ptex, hashed, r);
      bytes.setBigUint64(ptex * 16, hashed);
      bytes.setBigUint64(ptex * 16 + 8, r);
      break;
    }
  }
  return { table, flat: new addon.FlatTable(flatEntries, new Uint32Array(flatEntries.length)) };
}

/** The counts as the baseline gives them. @param {TableStats} stats */
function inOrder(stats) {
  const { occupancy, protections, keys, wimg, secondary, bolted, referenced, changed } = stats;
  const { writable, executable, cornered, unreadable, misplaced, doubled, vsids } = stats;
  const bytes = vsids.reduce((sum, segment) => sum + segment.bytes, 0);
  return [
    ...[occupancy, protections, keys, wimg].flat(),
    ...[secondary, bolted, referenced, changed, writable, executable],
    ...[cornered, unreadable, misplaced, doubled, vsids.length, bytes],
  ];
}

/** @param {number} share */
function stats(share) {
  const { table, flat } = guestTable(share);
  const ours = inOrder(tableStats(table)).join();
  const theirs = flat.stats().join();
  if (ours !== theirs) throw new Error(`counted ${ours} and ${theirs}`);
  return contest({ run: () => tableStats(table) }, { run: () => flat.stats() });
}

/**
 * All that `kvm-htab inspect` does with a snapshot, which is in memory, beside a bare check, fold and count.
 *
 * @param {number} share
 */
async function inspectSnapshot(share) {
  const { table, flat } = guestTable(share);
  /** @type {Buffer[]} */
  const file = [];
  const write = (/** @type {Buffer} */ chunk, /** @type {unknown} */ _, /** @type {() => void} */ done) => {
    file.push(Buffer.from(chunk));
    done();
  };
  await writeTable(table, new Writable({ write }), undefined);
  /** @type {Buffer[]} */
  const records = [];
  readTable(table, true, (bytes) => records.push(Buffer.from(bytes)));
  const look = async () => {
    const { table: read } = await readSnapshot(Readable.from(file));
    return [tableStats(read), tableMap(read, 512)];
  };
  const plain = () => {
    for (const each of records) flat.store(each);
    return flat.stats();
  };
  return contest({ run: look }, { run: plain });
}

/** @type {import('./cases.mjs').Case[]} */
export const inspect = [
  { name: 'tableStats, 12.5 %', ...atLeast(0.5), run: () => stats(0.125) },
  { name: 'tableStats, 75 %', ...atLeast(0.5), run: () => stats(0.75) },
  { name: 'inspect a snapshot, 12.5 %', ...atLeast(0.3), run: () => inspectSnapshot(0.125) },
];
