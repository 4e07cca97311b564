import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { actualPageShift, basePageShift } from '../../lib/hpt/page-size.js';
import { decodeHpte, encodeHpte, type Hpte } from '../../lib/hpt/hpte.js';
import { hasReservedSegment, HPTE_V_LARGE } from '../../lib/hpt/hpte-bits.js';

const outOfRange: unknown = expect.objectContaining({ name: 'RangeError', code: 'ERR_OUT_OF_RANGE' });
const doubleword = fc.bigInt({ min: 0n, max: 2n ** 64n - 1n });

/** Base and actual page shift for an LP code, read off the table of kernel-abi.md 7. */
function shiftsOf(lp: number): [number, number] {
  const digits = lp.toString(16).padStart(2, '0');
  if (digits === '00') return [24, 24];
  if (digits === '03') return [34, 34];
  if (digits === '08') return [16, 24];
  if (digits === '38') return [12, 24];
  if (digits.endsWith('1')) return [16, 16];
  if (digits.endsWith('7')) return [12, 16];
  return [0, 0];
}

describe('page sizes', () => {
  test('each of the 256 LP codes gives the sizes of the table, or none (7)', () => {
    for (let lp = 0; lp < 256; lp++) {
      // All other bits of r set, then clear: none of them may count.
      for (const rLow of [lp << 12, (lp << 12) | 0xfff00fff]) {
        const shifts = [basePageShift(HPTE_V_LARGE, rLow), actualPageShift(HPTE_V_LARGE, rLow)];
        expect(shifts, `LP code ${lp}`).toEqual(shiftsOf(lp));
      }
    }
  });

  test('36 LP codes are legal', () => {
    const codes = Array.from({ length: 256 }, (_, lp) => lp);
    expect(codes.filter((lp) => basePageShift(HPTE_V_LARGE, lp << 12) !== 0)).toHaveLength(36);
  });

  test('without L the page is 4K whatever the LP code (7)', () => {
    for (let lp = 0; lp < 256; lp++) {
      expect([basePageShift(0, lp << 12), actualPageShift(0, lp << 12)]).toEqual([12, 12]);
    }
  });

  test('halves are read alike as signed and as unsigned numbers', () => {
    expect(basePageShift(-1, 0xfff38fff)).toBe(12);
    expect(actualPageShift(0xffffffff, 0xfff38fff | 0)).toBe(24);
    expect([0x3fffffff, 0x40000000, 0x80000000, 0x80000000 | 0, 0xc0000000].map(hasReservedSegment)).toEqual([
      false,
      false,
      true,
      true,
      true,
    ]);
  });
});

describe('decodeHpte', () => {
  test('a 64K entry of the VRMA shows its fields (4.5)', () => {
    expect(decodeHpte(0x4001_ffff_ff00_0055n, 0x1190n)).toEqual({
      valid: true,
      secondary: false,
      software: false,
      bolted: true,
      kernelAbsent: false,
      kernelLock: true,
      segment: '1T',
      avpn: 0x1ffffffn << 17n,
      basePageShift: 16,
      actualPageShift: 16,
      guestAddress: 0n,
      unusedAddressBits: 0n,
      pp: 0,
      key: 0,
      wimg: 0b0010,
      noExecute: false,
      referenced: true,
      changed: true,
      kernelModified: false,
    } satisfies Hpte);
  });

  test.each([
    ['valid', 0x1n, 0n],
    ['secondary', 0x2n, 0n],
    ['software', 0x8n, 0n],
    ['bolted', 0x10n, 0n],
    ['kernelAbsent', 0x20n, 0n],
    ['kernelLock', 0x40n, 0n],
    ['noExecute', 0n, 0x4n],
    ['changed', 0n, 0x80n],
    ['referenced', 0n, 0x100n],
    ['kernelModified', 0n, 1n << 62n],
  ] as const)('the bit of %s sets that field and no other', (name, v, r) => {
    expect(decodeHpte(v, r)).toEqual({ ...decodeHpte(0n, 0n), [name]: true });
    expect(encodeHpte({ [name]: true })).toEqual({ v, r });
  });

  test.each([
    ['pp', 0x8000_0000_0000_0003n, 7],
    ['key', 0x3000_0000_0000_0e00n, 31],
    ['key', 0x1000_0000_0000_0400n, 0b01010],
    ['wimg', 0x78n, 15],
    ['wimg', 0x40n, 8],
  ] as const)('%s is gathered from its bits of r, %s', (name, r, value) => {
    expect(decodeHpte(0n, r)).toEqual({ ...decodeHpte(0n, 0n), [name]: value });
    expect(encodeHpte({ [name]: value })).toEqual({ v: 0n, r });
  });

  test('the guest address is r bits 59-12 cut to the actual page size (7)', () => {
    const address = (v: bigint, r: bigint) => decodeHpte(v, r)?.guestAddress;
    expect(address(0x1n, 0xffff_ffff_ffff_ffffn)).toBe(0x0fff_ffff_ffff_f000n);
    expect(address(0x5n, 0x0123_4567_89ab_1190n)).toBe(0x0123_4567_89ab_0000n);
    expect(address(0x5n, 0x0123_4567_89f3_8190n)).toBe(0x0123_4567_8900_0000n);
    expect(address(0x5n, 0x0123_4567_89f0_3190n)).toBe(0x0123_4564_0000_0000n);
  });

  test('an entry with a reserved segment size or LP code is no entry (7)', () => {
    expect(decodeHpte(0x8000_0000_0000_0001n, 0n)).toBeUndefined();
    expect(decodeHpte(0xc000_0000_0000_0001n, 0n)).toBeUndefined();
    expect(decodeHpte(0x5n, 0x55000n)).toBeUndefined();
    expect(decodeHpte(0x1n, 0x55190n)).toMatchObject({ basePageShift: 12, guestAddress: 0x55000n });
  });
});

describe('encodeHpte', () => {
  test('gives back the exact doublewords of every entry that can be decoded', () => {
    // Half the draws get a legal LP code, or few entries with L would pass.
    const lp = fc.constantFrom(0x00n, 0x03n, 0x08n, 0x38n, 0xe1n, 0x57n);
    const r = fc.oneof(
      doubleword,
      fc.tuple(doubleword, lp).map(([bits, code]) => (bits & ~0xff000n) | (code << 12n)),
    );
    fc.assert(
      fc.property(doubleword, r, (v, r) => {
        const hpte = decodeHpte(v, r);
        const lp = Number((r >> 12n) & 0xffn);
        const legal = v >> 63n === 0n && ((v & 4n) === 0n || shiftsOf(lp)[0] !== 0);
        expect(hpte !== undefined).toBe(legal);
        if (hpte !== undefined) expect(encodeHpte(hpte)).toEqual({ v, r });
      }),
      { numRuns: 2000 },
    );
  });

  const pairs = [
    [12, 12, 0x1n, 0x0n],
    [12, 16, 0x5n, 0x7000n],
    [12, 24, 0x5n, 0x38000n],
    [16, 16, 0x5n, 0x1000n],
    [16, 24, 0x5n, 0x8000n],
    [24, 24, 0x5n, 0x0n],
    [34, 34, 0x5n, 0x3000n],
  ] as const;

  test.each(pairs)('base 2^%i in actual 2^%i gets its L bit and LP code (7)', (base, actual, v, lp) => {
    const guestAddress = 0x0aaa_aaa8_0000_0000n;
    const entry = encodeHpte({ valid: true, basePageShift: base, actualPageShift: actual, guestAddress });
    expect(entry).toEqual({ v, r: guestAddress | lp });
    expect(decodeHpte(entry.v, entry.r)).toMatchObject({
      basePageShift: base,
      actualPageShift: actual,
      guestAddress,
    });
  });

  test('any other pair of page sizes is refused', () => {
    const shifts = [12, 16, 24, 34] as const;
    for (const basePageShift of shifts) {
      for (const actualPageShift of shifts) {
        if (pairs.some(([base, actual]) => base === basePageShift && actual === actualPageShift)) continue;
        expect(() => encodeHpte({ basePageShift, actualPageShift })).toThrow(outOfRange);
      }
    }
  });

  test('the actual page is the base page unless given', () => {
    expect(encodeHpte({ basePageShift: 16 })).toEqual({ v: 0x4n, r: 0x1000n });
  });

  test.each([
    { avpn: 1n << 55n },
    { avpn: -1n },
    { guestAddress: 1n << 60n },
    { guestAddress: 0x800n },
    { guestAddress: 0x1000n, basePageShift: 16 },
    { unusedAddressBits: 0x10_0000n, basePageShift: 16 },
    { unusedAddressBits: 0x8_0000n, basePageShift: 24 },
    { unusedAddressBits: 0x100_0000n, basePageShift: 24 },
    { pp: 8 },
    { pp: -1 },
    { key: 32 },
    { wimg: 16 },
    { wimg: 0.5 },
    { segment: '2T' as '1T' },
  ] as const)('a value that does not fit its field is refused: %s', (fields) => {
    expect(() => encodeHpte(fields)).toThrow(outOfRange);
  });

  test.each([1n << 64n, -1n])('%i is no doubleword', (word) => {
    expect(() => decodeHpte(word, 0n)).toThrow(outOfRange);
    expect(() => decodeHpte(1n, word)).toThrow(outOfRange);
  });
});
