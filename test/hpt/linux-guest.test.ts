import { readFileSync } from 'node:fs';
import { brotliDecompressSync } from 'node:zlib';
import { expect, test } from 'vitest';
import { encodeAvpn, virtualPageOf } from '../../lib/hpt/hash.js';
import { decodeHpte, encodeHpte } from '../../lib/hpt/hpte.js';

const fixture = new URL('../fixtures/linux-guest.img.br', import.meta.url);
const image = brotliDecompressSync(readFileSync(fixture));
const order = Math.log2(image.length);

test('every entry that a Linux guest made lies where its address hashes to, and is put together again', () => {
  const misplaced: number[] = [];
  const changed: number[] = [];
  let bolted = 0;
  let valid = 0;
  for (let ptex = 0; ptex < image.length / 16; ptex++) {
    const v = image.readBigUInt64BE(ptex * 16);
    const r = image.readBigUInt64BE(ptex * 16 + 8);
    const hpte = decodeHpte(v, r);
    if (hpte?.valid !== true) continue;
    valid++;
    if (hpte.bolted) bolted++;
    const page = virtualPageOf(ptex, v, r, order);
    if (page === undefined || encodeAvpn(page) !== (v & ~0x7fn)) misplaced.push(ptex);
    const again = encodeHpte(hpte);
    if (again.v !== v || again.r !== r) changed.push(ptex);
  }
  // The counts of test/fixtures/linux-guest.json.
  expect({ order, valid, bolted }).toEqual({ order: 23, valid: 17_812, bolted: 16_400 });
  expect({ misplaced, changed }).toEqual({ misplaced: [], changed: [] });
});
