import assert from 'node:assert/strict';
import type { ConformanceCase, ConformanceContext } from './context.js';
import { encode, PLAIN, record, removal, type Entry } from './stream.js';

/** Writes an entry over an empty slot, expects it taken, and expects it back as `expected`. */
async function expectReturned(t: ConformanceContext, written: Entry, expected: Entry): Promise<void> {
  const vm = await t.vm(18);
  await t.put(vm, record(0, [written]));
  await t.expectTable(vm, record(0, [expected], 16_383));
}

/** v as written, and as a host of this kind returns it (kernel-abi.md 3.1). */
async function expectAvpn(
  t: ConformanceContext,
  pairs: readonly (readonly [bigint, bigint])[],
): Promise<void> {
  for (const [written, returned] of pairs) await expectReturned(t, [written, 0x190n], [returned, 0x190n]);
}

/** L = 1, and the LP code in r bits 12 to 19. */
const large = (code: number): Entry => [0x5n, BigInt(code << 12) | 0x190n];

/** Which values come back, and which are refused (kernel-abi.md 3.1, 7). */
export const valueCases: readonly ConformanceCase[] = [
  {
    name: 'v bits 0x20 and 0x40 are the kernel’s own: what is written there is dropped',
    section: '3.1',
    async run(t) {
      for (const v of [0x01n, 0x11n, 0x21n, 0x41n, 0x61n, 0x7bn, 0x7fn]) {
        // L is set in the last one: LP code 1, a 64K page.
        const r = (v & 0x4n) === 0n ? 0x190n : 0x1190n;
        await expectReturned(t, [v, r], [v & ~0x60n, r]);
      }
    },
  },
  {
    name: 'returned entries carry the kernel’s lock bit',
    section: '0 #3',
    requires: ['lock-bit'],
    async run(t) {
      const vm = await t.vm(18);
      await t.put(vm, record(0, [PLAIN]));
      const bytes = await t.read(await t.open(vm));
      assert.equal(bytes[8 + 7], 0x41);
    },
  },
  {
    name: 'a VRMA entry comes back as written',
    section: '3.1',
    async run(t) {
      await expectReturned(t, [0x4001_ffff_ff00_0011n, 0x190n], [0x4001_ffff_ff00_0011n, 0x190n]);
    },
  },
  {
    name: 'r comes back bit by bit as written, but for bit 62',
    section: '3.1',
    async run(t) {
      const all = 0xffff_ffff_ffff_ffffn;
      await expectReturned(t, [0x1n, all], [0x1n, all & ~(1n << 62n)]);
      for (const bit of [0n, 2n, 7n, 8n, 9n, 12n, 19n, 56n, 58n, 59n, 60n, 61n, 63n]) {
        await expectReturned(t, [0x1n, 1n << bit], [0x1n, 1n << bit]);
      }
      await expectReturned(t, [0x1n, 1n << 62n], [0x1n, 0n]);
    },
  },
  {
    name: 'POWER8 keeps every bit of the AVPN',
    section: '3.1',
    requires: ['power8'],
    run: (t) =>
      expectAvpn(t, [
        [0x7fff_ffff_ffff_ff81n, 0x7fff_ffff_ffff_ff81n],
        [0x0fff_ffff_ffff_ff81n, 0x0fff_ffff_ffff_ff81n],
        [0x0010_0000_0000_0001n, 0x0010_0000_0000_0001n],
        [0x000f_ffff_ffff_ff81n, 0x000f_ffff_ffff_ff81n],
      ]),
  },
  {
    name: 'POWER9 loses bits 52 to 61 of v, and keeps the segment size',
    section: '0 #4',
    requires: ['power9'],
    run: (t) =>
      expectAvpn(t, [
        [0x7fff_ffff_ffff_ff81n, 0x400f_ffff_ffff_ff81n],
        [0x0fff_ffff_ffff_ff81n, 0x000f_ffff_ffff_ff81n],
        [0x0010_0000_0000_0001n, 0x1n],
        [0x000f_ffff_ffff_ff81n, 0x000f_ffff_ffff_ff81n],
      ]),
  },
  {
    name: 'of the 256 page-size codes 36 are accepted, all others are EINVAL and touch nothing',
    section: '7',
    async run(t) {
      const legal = (code: number): boolean =>
        [0x00, 0x03, 0x08, 0x38].includes(code) || [0x1, 0x7].includes(code & 0xf);
      const vm = await t.vm(18);
      const writer = await t.open(vm, { access: 'write' });
      const accepted: Entry[] = [];
      for (let code = 0; code < 256; code++) {
        const written = writer.write(encode(record(accepted.length, [large(code)])));
        if (legal(code)) {
          assert.equal(await written, 24, `page-size code 0x${code.toString(16)}`);
          accepted.push(large(code));
        } else {
          await t.expectErrno(written, 'EINVAL', 'write');
        }
      }
      assert.equal(accepted.length, 36);
      await t.expectTable(vm, record(0, accepted, 16_384 - 36));
    },
  },
  {
    name: 'without L the page-size code is part of the address and never wrong',
    section: '7',
    async run(t) {
      for (const code of [0x02n, 0x55n, 0xffn]) {
        const r = (code << 12n) | 0x190n;
        await expectReturned(t, [0x1n, r], [0x1n, r]);
      }
    },
  },
  {
    name: 'segment sizes 2 and 3 are EIO',
    section: '3.1',
    async run(t) {
      const vm = await t.vm(18);
      const writer = await t.open(vm, { access: 'write' });
      for (const v of [0x8000_0000_0000_0001n, 0xc000_0000_0000_0001n]) {
        await t.expectErrno(writer.write(encode(record(0, [[v, 0x190n]]))), 'EIO', 'write');
      }
      await t.expectTable(vm, removal(0, 16_384));
    },
  },
];
