import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { entryCount } from '../../lib/hpt/geometry.js';
import {
  encodeAvpn,
  hashAddress,
  hashPage,
  primaryGroup,
  rehashPtex,
  secondaryGroup,
  virtualPageOf,
  type VirtualPage,
} from '../../lib/hpt/hash.js';
import { encodeHpte } from '../../lib/hpt/hpte.js';

const outOfRange: unknown = expect.objectContaining({ name: 'RangeError', code: 'ERR_OUT_OF_RANGE' });
const order = fc.integer({ min: 18, max: 46 });
const streamOrder = fc.integer({ min: 18, max: 36 });

const page: fc.Arbitrary<VirtualPage> = fc
  .constantFrom(
    { segment: '256M', segmentShift: 28n, basePageShift: 12 },
    { segment: '256M', segmentShift: 28n, basePageShift: 16 },
    { segment: '256M', segmentShift: 28n, basePageShift: 24 },
    { segment: '1T', segmentShift: 40n, basePageShift: 12 },
    { segment: '1T', segmentShift: 40n, basePageShift: 16 },
    { segment: '1T', segmentShift: 40n, basePageShift: 24 },
    { segment: '1T', segmentShift: 40n, basePageShift: 34 },
  )
  .chain(({ segment, segmentShift, basePageShift }) => {
    const shift = BigInt(basePageShift);
    return fc.record({
      segment: fc.constant(segment),
      vsid: fc.bigInt({ min: 0n, max: (1n << (78n - segmentShift)) - 1n }),
      offset: fc.bigInt({ min: 0n, max: (1n << (segmentShift - shift)) - 1n }).map((index) => index << shift),
      basePageShift: fc.constant(basePageShift),
    });
  });

/** The entry of a page, as a guest would enter it. */
function entryOf(page: VirtualPage, flags: bigint): { v: bigint; r: bigint } {
  const { v, r } = encodeHpte({ valid: true, basePageShift: page.basePageShift });
  return { v: v | encodeAvpn(page) | flags, r };
}

function rehash(ptex: number, v: bigint, r: bigint, from: number, to: number): number {
  return rehashPtex(ptex, Number(v >> 32n), Number(v & 0xffffffffn), Number(r & 0xffffffffn), from, to);
}

/** Section 8 word by word, over bigints. */
function rehashBySpecification(ptex: bigint, v: bigint, p: bigint, from: number, to: number): number {
  const oldMask = (1n << BigInt(from - 7)) - 1n;
  const newMask = (1n << BigInt(to - 7)) - 1n;
  const secondary = (v & 2n) !== 0n;
  const is1T = v >> 62n === 1n;
  let avpn = (v >> 7n) & ((1n << 55n) - 1n);
  if (p > 23n) avpn &= ~((1n << (p - 23n)) - 1n);
  const pteg = secondary ? ~(ptex / 8n) : ptex / 8n;
  const vsid = is1T ? avpn >> 17n : avpn >> 5n;
  const segment = is1T ? vsid ^ (vsid << 25n) : vsid;
  let offset = (avpn & (is1T ? 0x1ffffn : 0x1fn)) << 23n;
  if (p < 23n) offset |= ((segment ^ pteg) & oldMask) << p;
  const hash = segment ^ (offset >> p);
  return Number((secondary ? ~hash : hash) & newMask) * 8 + Number(ptex % 8n);
}

describe('hash', () => {
  test('follows section 8 for both segment sizes and every order', () => {
    fc.assert(
      fc.property(page, order, (page, order) => {
        const { vsid, offset, segment, basePageShift } = page;
        const mask = (1n << BigInt(order - 7)) - 1n;
        const full = vsid ^ (segment === '1T' ? vsid << 25n : 0n) ^ (offset >> BigInt(basePageShift));
        const hash = hashPage(page);
        expect(BigInt(hash)).toBe(full & ((1n << 39n) - 1n));
        expect(BigInt(primaryGroup(hash, order))).toBe(full & mask);
        expect(BigInt(secondaryGroup(hash, order))).toBe(~full & mask);
      }),
    );
  });

  test.each([17, 47, 20.5])('there are no groups in a table of order %s', (order) => {
    expect(() => primaryGroup(0, order)).toThrow(outOfRange);
    expect(() => secondaryGroup(0, order)).toThrow(outOfRange);
  });

  test('any address within a page hashes like the page', () => {
    expect(hashAddress('256M', 0x3_ffff_ffff_ffff, 0xfff_ffff, 16)).toBe(
      hashPage({ segment: '256M', vsid: 0x3_ffff_ffff_ffffn, offset: 0xfff_0000n, basePageShift: 16 }),
    );
  });

  test('the VRMA’s page n goes to slot 7 of the PTEG that section 4.5 gives', () => {
    const ptexes = Array.from({ length: 1024 }, (_, n) => {
      const hash = hashPage({ segment: '1T', vsid: 0x1ffffffn, offset: BigInt(n) << 16n, basePageShift: 16 });
      return primaryGroup(hash, 18) * 8 + 7;
    });
    // 64 MiB in 64K pages at order 18: entries at 8199..16383, 8 apart, page 0 in the last.
    expect(ptexes[0]).toBe(16383);
    expect([...ptexes].sort((a, b) => a - b)).toEqual(Array.from({ length: 1024 }, (_, n) => 8199 + 8 * n));
  });
});

describe('encodeAvpn', () => {
  test.each([
    ['256M', 0x1n, 0n, 24, 0x1000n],
    ['256M', 0n, 0xf80_0000n, 12, 0xf80n],
    ['256M', 0x3_ffff_ffff_ffffn, 0xf00_0000n, 24, 0x3fff_ffff_ffff_ff00n],
    ['1T', 0x1ffffffn, 0n, 16, 0x4001_ffff_ff00_0000n],
    ['1T', 0n, 0x34_5600_0000n, 12, 0x4000_0000_0034_5600n],
    ['1T', 0x3f_ffff_ffffn, 0x3fn << 34n, 34, 0x7fff_ffff_fffc_0000n],
  ] as const)('%s segment, VSID %s, offset %s, pages of 2^%i', (segment, vsid, offset, basePageShift, v) => {
    expect(encodeAvpn({ segment, vsid, offset, basePageShift })).toBe(v);
  });

  test.each([
    { segment: '256M', vsid: 1n << 50n, offset: 0n, basePageShift: 12 },
    { segment: '1T', vsid: 1n << 38n, offset: 0n, basePageShift: 12 },
    { segment: '1T', vsid: -1n, offset: 0n, basePageShift: 12 },
    { segment: '256M', vsid: 0n, offset: 1n << 28n, basePageShift: 12 },
    { segment: '1T', vsid: 0n, offset: 1n << 40n, basePageShift: 12 },
    { segment: '1T', vsid: 0n, offset: 0x1000n, basePageShift: 16 },
    { segment: '256M', vsid: 0n, offset: 0n, basePageShift: 34 },
    { segment: '1t', vsid: 0n, offset: 0n, basePageShift: 12 },
    { segment: '1T', vsid: 0n, offset: 0n, basePageShift: 20 },
    { segment: '1T', vsid: 0n, offset: 0n, basePageShift: '12' },
  ] as const)('refuses what is not a page: %o', (page) => {
    expect(() => encodeAvpn(page as VirtualPage)).toThrow(outOfRange);
    expect(() => hashPage(page as VirtualPage)).toThrow(outOfRange);
  });
});

describe('virtualPageOf', () => {
  test('finds the page again from its entry, in every slot of both PTEGs of every order', () => {
    fc.assert(
      fc.property(page, order, fc.integer({ min: 0, max: 7 }), (page, order, slot) => {
        const hash = hashPage(page);
        const { v, r } = entryOf(page, 0n);
        expect(virtualPageOf(primaryGroup(hash, order) * 8 + slot, v, r, order)).toEqual(page);
        expect(virtualPageOf(secondaryGroup(hash, order) * 8 + slot, v | 2n, r, order)).toEqual(page);
      }),
      { numRuns: 1000 },
    );
  });

  test('an entry whose address hashes to another PTEG maps no page', () => {
    const page: VirtualPage = { segment: '256M', vsid: 1n, offset: 0n, basePageShift: 24 };
    const { v, r } = entryOf(page, 0n);
    expect(virtualPageOf(8, v, r, 18)).toEqual(page);
    expect(virtualPageOf(24, v, r, 18)).toBeUndefined();
    // 4K at order 19: the PTEG's 12 bits hold one address bit that the AVPN holds too.
    const small = entryOf({ segment: '256M', vsid: 0n, offset: 0x5000n, basePageShift: 12 }, 0n);
    expect(virtualPageOf(0x005 * 8, small.v, small.r, 19)).toMatchObject({ offset: 0x5000n });
    expect(virtualPageOf(0x805 * 8, small.v, small.r, 19)).toBeUndefined();
  });

  test('an entry with a reserved code, or a 16G page in a 256M segment, maps no page', () => {
    expect(virtualPageOf(0, 0x8000_0000_0000_0001n, 0n, 18)).toBeUndefined();
    expect(virtualPageOf(0, 0x5n, 0x55000n, 18)).toBeUndefined();
    expect(virtualPageOf(0, 0x5n, 0x3000n, 18)).toBeUndefined();
    expect(virtualPageOf(0, 0x4000_0000_0000_0005n, 0x3000n, 18)).toMatchObject({ basePageShift: 34 });
  });

  test('an index or an order that does not exist is refused', () => {
    expect(() => virtualPageOf(16384, 1n, 0n, 18)).toThrow(outOfRange);
    expect(() => virtualPageOf(-1, 1n, 0n, 18)).toThrow(outOfRange);
    expect(() => virtualPageOf(0, 1n, 0n, 47)).toThrow(outOfRange);
  });
});

describe('rehashPtex', () => {
  test('moves the recorded entry as the kernel did: order 19, 18, 20 (5.3)', () => {
    const { v, r } = entryOf({ segment: '256M', vsid: 0n, offset: 0x5000n, basePageShift: 12 }, 0x12n);
    expect(rehash(32722, v, r, 19, 18)).toBe(16338);
    expect(rehash(16338, v, r, 18, 20)).toBe(65490);
  });

  test('sends the same 16M entry from PTEGs 3 and 4 to one slot, on which the kernel crashes (5.3)', () => {
    expect(rehash(3 * 8, 0x1015n, 0x90_0000_0010n, 18, 18)).toBe(8);
    expect(rehash(4 * 8, 0x1015n, 0x90_0000_0010n, 18, 18)).toBe(8);
  });

  test('moves a well placed entry to the PTEG its page hashes to in the other table, same slot', () => {
    fc.assert(
      fc.property(page, order, order, fc.integer({ min: 0, max: 7 }), (page, from, to, slot) => {
        const hash = hashPage(page);
        const { v, r } = entryOf(page, 0n);
        expect(rehash(primaryGroup(hash, from) * 8 + slot, v, r, from, to)).toBe(
          primaryGroup(hash, to) * 8 + slot,
        );
        expect(rehash(secondaryGroup(hash, from) * 8 + slot, v | 2n, r, from, to)).toBe(
          secondaryGroup(hash, to) * 8 + slot,
        );
      }),
    );
  });

  test('follows section 8 for arbitrary entries in arbitrary places', () => {
    const sizes = fc.constantFrom([0n, 0n, 12n], [4n, 0x1000n, 16n], [4n, 0n, 24n], [
      4n,
      0x3000n,
      34n,
    ] as const);
    fc.assert(
      fc.property(
        fc.bigInt({ min: 0n, max: 2n ** 63n - 1n }),
        sizes,
        streamOrder,
        streamOrder,
        fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }),
        (bits, [large, r, shift], from, to, place) => {
          const v = (bits & ~4n) | large;
          const ptex = Math.floor(place * entryCount(from));
          expect(rehash(ptex, v, r, from, to)).toBe(rehashBySpecification(BigInt(ptex), v, shift, from, to));
        },
      ),
      { numRuns: 2000 },
    );
  });

  test('never leaves the table', () => {
    fc.assert(
      fc.property(fc.bigInt({ min: 0n, max: 2n ** 63n - 1n }), order, order, (v, from, to) => {
        const ptex = rehash(entryCount(from) - 1, v, 0x1000n, from, to);
        expect(ptex).toBeGreaterThanOrEqual(0);
        expect(ptex).toBeLessThan(entryCount(to));
      }),
    );
  });
});
