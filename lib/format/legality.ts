import { swapBigEndian } from '../hpt/wire.js';
const HPTE_V_VALID = 1, HPTE_V_LARGE = 4;
const VALID = swapBigEndian(HPTE_V_VALID);
const LARGE = swapBigEndian(HPTE_V_LARGE);
const RESERVED_SEGMENT = swapBigEndian(0x8000_0000);
const ILLEGAL_LP = Uint8Array.from({ length: 256 }, (_, lp) =>
  [0, 3, 8, 0x38].includes(lp) || (lp & 15) === 1 || (lp & 15) === 7 ? 0 : 1,
);
const BLOCK = 32;
export function firstBadHpte(words: Uint32Array, from: number, to: number): number {
  let at = from;
  for (; at + BLOCK <= to; at += BLOCK) {
    const high =
      words[at]! | words[at + 4]! | words[at + 8]! | words[at + 12]! |
      words[at + 16]! | words[at + 20]! | words[at + 24]! | words[at + 28]!;
    const a1 = words[at + 1]!, a2 = words[at + 5]!, a3 = words[at + 9]!, a4 = words[at + 13]!;
    const a5 = words[at + 17]!, a6 = words[at + 21]!, a7 = words[at + 25]!, a8 = words[at + 29]!;
    const all = a1 & a2 & a3 & a4 & a5 & a6 & a7 & a8;
    const any = a1 | a2 | a3 | a4 | a5 | a6 | a7 | a8;
    if ((all & VALID) !== 0 && (high & RESERVED_SEGMENT) === 0 && (any & LARGE) === 0) continue;
    for (let e = at; e < at + BLOCK; e += 4) if (isBad(words, e)) return e;
  }
  for (; at < to; at += 4) if (isBad(words, at)) return at;
  return to;
}
function isBad(words: Uint32Array, at: number): boolean {
  const low = words[at + 1]!;
  if ((low & VALID) === 0 || (words[at]! & RESERVED_SEGMENT) !== 0) return true;
  return (low & LARGE) !== 0 && ILLEGAL_LP[(swapBigEndian(words[at + 3]!) >>> 12) & 0xff] !== 0;
}
export function whyBad(_words: Uint32Array, _at: number): string { return 'bad'; }
