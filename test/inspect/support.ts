import { readFileSync } from 'node:fs';
import { Readable } from 'node:stream';
import { brotliDecompressSync } from 'node:zlib';
import { storeImage } from '../../lib/hpt/flat-image.js';
import { virtualPageOf, type VirtualPage } from '../../lib/hpt/hash.js';
import { HptTable } from '../../lib/hpt/table.js';
import { readSnapshot } from '../../lib/snapshot/read.js';

const folder = new URL('../fixtures/', import.meta.url);
const unpacked = (name: string): Buffer => brotliDecompressSync(readFileSync(new URL(name, folder)));

/** The tables of real Linux guests, by name; `test/fixtures/tables/README.md` tells of each. */
export const linuxTables = {
  'qemu-7.2.22-tcg-1g': await readTable('qemu-7.2.22-tcg-1g'),
  'qemu-10.0.2-tcg-1g': imageTable(),
  'qemu-10.0.2-p9hash-1g': await readTable('qemu-10.0.2-p9hash-1g'),
  'qemu-10.0.2-kvm-6.12-p9hash-256m': await readTable('qemu-10.0.2-kvm-6.12-p9hash-256m'),
} as const;

async function readTable(name: string): Promise<HptTable> {
  return (await readSnapshot(Readable.from([unpacked(`tables/${name}.snap.br`)]))).table;
}

function imageTable(): HptTable {
  const image = unpacked('linux-guest.img.br');
  const table = new HptTable(Math.log2(image.length));
  storeImage(table, 0, image);
  return table;
}

/** The pages that the entries of a table map; undefined for one that is misplaced or unreadable. */
export function* pagesOf(table: HptTable): Generator<readonly [ptex: number, page: VirtualPage | undefined]> {
  for (const [ptex, { v, r }] of table) yield [ptex, virtualPageOf(ptex, v, r, table.order)];
}
