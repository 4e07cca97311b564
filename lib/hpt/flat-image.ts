import { HPTE_BYTES } from './geometry.js';
import { HPTE_V_VALID } from './hpte-bits.js';
import type { HptTable } from './table.js';

/**
 * Stores the valid entries of an image of the table's memory, or of part of it: 16 bytes an entry, big-endian, valid or
 * not. Entries that the image shows as invalid stay as they are in the table.
 *
 * @param ptex of the image's first entry
 * @param image whole entries
 */
export function storeImage(table: HptTable, ptex: number, image: Uint8Array): void {
  const view = new DataView(image.buffer, image.byteOffset, image.length);
  for (let at = 0; at < image.length; at += HPTE_BYTES) {
    const vLow = view.getUint32(at + 4);
    if ((vLow & HPTE_V_VALID) === 0) continue;
    const vHigh = view.getUint32(at);
    table.store(ptex + at / HPTE_BYTES, vHigh, vLow, view.getUint32(at + 8), view.getUint32(at + 12));
  }
}
