import { createHash } from 'node:crypto';
import { forEachValid } from './entries.js';
import { HPTE_V_PRIVATE } from './hpte-bits.js';
import { checkTable, type HptTable } from './table.js';
import { swapBigEndian, swapLittleEndian } from './byte-order.js';

const ENTRY_WORDS = 5;
const BATCH_ENTRIES = 4096;
/** The kernel's own bits of `v`, as they stand in a word of stream bytes. */
const PRIVATE_WORD = swapBigEndian(HPTE_V_PRIVATE);

/**
 * SHA-256 over a table's content: order, then index (32 bits, little-endian) and HPTE bytes of every valid entry in
 * ascending order, without the bits of `v` that are the kernel's own (0x60), which differ between reads and hosts.
 *
 * @returns 64 hexadecimal digits
 */
export function digestTable(table: HptTable): string {
  checkTable('table', table);
  const hash = createHash('sha256').update(`hpt order ${table.order}\n`);
  const batch = new Uint32Array(BATCH_ENTRIES * ENTRY_WORDS);
  let used = 0;
  forEachValid(table, (ptex, words, word) => {
    batch[used] = swapLittleEndian(ptex);
    batch[used + 1] = words[word]!;
    batch[used + 2] = words[word + 1]! & ~PRIVATE_WORD;
    batch[used + 3] = words[word + 2]!;
    batch[used + 4] = words[word + 3]!;
    used += ENTRY_WORDS;
    if (used === batch.length) {
      hash.update(batch);
      used = 0;
    }
  });
  return hash.update(batch.subarray(0, used)).digest('hex');
}

/** @internal The digest of a table that changes no more, made when it is first asked for. */
export function lazyDigest(table: HptTable): () => string {
  let digest: string | undefined;
  return () => (digest ??= digestTable(table));
}
