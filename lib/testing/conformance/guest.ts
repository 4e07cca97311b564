import assert from 'node:assert/strict';
import type { HtabVm } from '../../vm/contract.js';
import { resizeTable } from '../resize.js';
import type { ConformanceCase, ConformanceContext } from './context.js';
import { BOLTED, encode, PLAIN, record, removal, run, type Entry } from './stream.js';

const H_REMOVE = 0x04;
const H_ENTER = 0x08;
const H_READ = 0x0c;
const H_CLEAR_MOD = 0x10;
const H_CLEAR_REF = 0x14;
const H_PROTECT = 0x18;
const H_BULK_REMOVE = 0x124;

const H_SUCCESS = 0n;
const H_PARAMETER = -4n;
const H_PTEG_FULL = -6n;
const H_NOT_FOUND = -7n;

const EXACT = 1n << 39n;
const READ_4 = 1n << 37n;
const AVPN = 1n << 31n;
const ANDCOND = 1n << 30n;
const MODIFIED = 1n << 62n;

/** 4K page 5 of segment 0, which hashes to the group of ptex 40; nobody has touched it, R and C are clear. */
const UNTOUCHED: Entry = [0x11n, 0x10_1010n];
const REFERENCED = 0x100n;
const CHANGED = 0x80n;

/** Makes a hypercall; the status as a signed number, then r4 and on. */
async function hcall(
  t: ConformanceContext,
  vm: HtabVm,
  opcode: number,
  ...args: bigint[]
): Promise<bigint[]> {
  const [status = 0n, ...registers] = await t.guest(vm).hcall(opcode, args);
  return [BigInt.asIntN(64, status), ...registers];
}

/** Status alone. */
async function status(t: ConformanceContext, vm: HtabVm, opcode: number, ...args: bigint[]): Promise<bigint> {
  return (await hcall(t, vm, opcode, ...args))[0]!;
}

/** An entry with R, or R and C, that the hardware has set and nobody has collected. */
async function pending(t: ConformanceContext, store: boolean): Promise<{ vm: HtabVm; entry: Entry }> {
  const vm = await t.vm(18);
  await t.put(vm, record(40, [UNTOUCHED]));
  await t.guest(vm).access(40, { store });
  return { vm, entry: [UNTOUCHED[0], UNTOUCHED[1] | REFERENCED | (store ? CHANGED : 0n)] };
}

/** What the guest itself does: hypercalls, loads and stores (kernel-abi.md 3, 6). */
const cases: readonly Omit<ConformanceCase, 'requires'>[] = [
  {
    name: 'a load through an entry sets R, and the later pass shows it once',
    section: '11 #17',
    async run(t) {
      const vm = await t.vm(18);
      const v = 0x11n;
      await t.put(vm, record(40, [[v, 0x10_0010n]]));
      const later = await t.laterReader(vm);
      await t.guest(vm).access(40, { store: false });
      await t.expectRead(later, [record(40, [[v, 0x10_0110n]])]);
      await t.guest(vm).access(40, { store: false });
      await t.expectRead(later, []);
    },
  },
  {
    name: 'a store through an entry sets R and C, and the later pass shows it once',
    section: '11 #18',
    async run(t) {
      const vm = await t.vm(18);
      await t.put(vm, record(40, [UNTOUCHED]));
      const later = await t.laterReader(vm);
      await t.guest(vm).access(40, { store: true });
      await t.expectRead(later, [record(40, [[0x11n, 0x10_1190n]])]);
      await t.guest(vm).access(40, { store: true });
      await t.expectRead(later, []);
    },
  },
  {
    name: 'R and C that were set before any descriptor was open are changes all the same',
    section: '2.5',
    async run(t) {
      const { vm, entry } = await pending(t, true);
      const handle = await t.open(vm, { startIndex: 100 });
      await t.expectRead(handle, [removal(100, 16_284)]);
      await t.expectRead(handle, [record(40, [entry])]);
      await t.expectRead(handle, []);
    },
  },
  {
    name: 'a first pass collects R and C of the entries it passes',
    section: '3',
    async run(t) {
      const { vm, entry } = await pending(t, false);
      const handle = await t.open(vm);
      await t.expectRead(handle, [removal(0, 40), record(40, [entry], 16_343)]);
      await t.expectRead(handle, []);
    },
  },
  {
    name: 'H_REMOVE returns R and C that nobody has collected, and the later pass shows the removal',
    section: '11 #19',
    async run(t) {
      const { vm, entry } = await pending(t, true);
      const later = await t.open(vm, { startIndex: 100 });
      await t.expectRead(later, [removal(100, 16_284)]);
      assert.deepEqual((await hcall(t, vm, H_REMOVE, 0n, 40n)).slice(0, 3), [H_SUCCESS, ...entry]);
      await t.expectRead(later, [removal(40)]);
    },
  },
  {
    name: 'H_PROTECT keeps R and C that nobody has collected',
    section: '11 #20',
    async run(t) {
      const { vm, entry } = await pending(t, true);
      const later = await t.open(vm, { startIndex: 100 });
      await t.expectRead(later, [removal(100, 16_284)]);
      assert.equal(await status(t, vm, H_PROTECT, 0n, 40n), H_SUCCESS);
      await t.expectRead(later, [record(40, [entry])]);
    },
  },
  {
    name: 'H_ENTER takes the lowest free slot of the group, or with EXACT the very slot',
    section: '6',
    async run(t) {
      const vm = await t.vm(18);
      await t.put(vm, run(40, 2), run(43, 1));
      const later = await t.laterReader(vm);
      const [v, r] = PLAIN;
      const enter = async (flags: bigint, ptex: bigint): Promise<bigint[]> =>
        (await hcall(t, vm, H_ENTER, flags, ptex, v, r)).slice(0, 2);
      assert.deepEqual(await enter(0n, 47n), [H_SUCCESS, 42n]);
      assert.deepEqual(await enter(0n, 40n), [H_SUCCESS, 44n]);
      assert.deepEqual(await enter(EXACT, 47n), [H_SUCCESS, 47n]);
      assert.equal((await enter(EXACT, 47n))[0], H_PTEG_FULL);
      assert.deepEqual(await enter(0n, 41n), [H_SUCCESS, 45n]);
      assert.deepEqual(await enter(0n, 41n), [H_SUCCESS, 46n]);
      assert.equal((await enter(0n, 41n))[0], H_PTEG_FULL);
      await t.expectRead(later, [run(42, 1), run(44, 4)]);
    },
  },
  {
    name: 'H_ENTER refuses page sizes, segments and indexes that do not exist, and does not ask for V',
    section: '6',
    async run(t) {
      const vm = await t.vm(18);
      const enter = (ptex: bigint, v: bigint, r: bigint): Promise<bigint> =>
        status(t, vm, H_ENTER, 0n, ptex, v, r);
      assert.equal(await enter(16_384n, 0x1n, 0x190n), H_PARAMETER);
      assert.equal(await enter(1n << 40n, 0x1n, 0x190n), H_PARAMETER);
      assert.equal(await enter(8n, 0x5n, 0x55190n), H_PARAMETER);
      assert.equal(await enter(8n, 0x8000_0000_0000_0001n, 0x190n), H_PARAMETER);
      assert.equal(await enter(8n, 0x10n, MODIFIED | 0x190n), H_SUCCESS);
      await t.expectTable(vm, removal(0, 8), run(8, 1, 16_375, BOLTED));
    },
  },
  {
    name: 'H_REMOVE looks for a valid entry that meets its conditions',
    section: '6',
    async run(t) {
      const vm = await t.vm(18);
      await t.put(vm, record(40, [[0x1091n, 0x190n]]));
      const later = await t.laterReader(vm);
      const remove = async (flags: bigint, ptex: bigint, avpn: bigint): Promise<bigint[]> =>
        (await hcall(t, vm, H_REMOVE, flags, ptex, avpn)).slice(0, 3);
      assert.equal((await remove(0n, 16_384n, 0n))[0], H_PARAMETER);
      assert.equal((await remove(0n, 41n, 0n))[0], H_NOT_FOUND);
      assert.equal((await remove(AVPN, 40n, 0x1000n))[0], H_NOT_FOUND);
      assert.equal((await remove(ANDCOND, 40n, 0x10n))[0], H_NOT_FOUND);
      assert.equal((await remove(ANDCOND, 40n, 0x40n))[0], H_NOT_FOUND);
      await t.expectRead(later, []);
      assert.deepEqual(await remove(AVPN, 40n, 0x1080n), [H_SUCCESS, 0x1091n, 0x190n]);
      await t.expectRead(later, [removal(40)]);
    },
  },
  {
    name: 'H_BULK_REMOVE answers each request in its register, with R and C of what it removed',
    section: '6',
    async run(t) {
      const vm = await t.vm(18);
      const entries: Entry[] = [
        [0x1n, 0x190n],
        [0x1n, 0x10n],
        [0x1081n, 0x110n],
      ];
      await t.put(vm, record(0x1e, entries));
      const later = await t.laterReader(vm);
      const requests = [
        [0x4000_0000_0000_001en, 0n],
        [0x4100_0000_0000_001fn, 0x10n],
        [0x4200_0000_0000_0020n, 0x1080n],
        [0x4000_0000_0000_0021n, 0n],
      ];
      assert.deepEqual(await hcall(t, vm, H_BULK_REMOVE, ...requests.flat()), [
        H_SUCCESS,
        0x8c00_0000_0000_001en,
        0n,
        0x8100_0000_0000_001fn,
        0x10n,
        0x8a00_0000_0000_0020n,
        0x1080n,
        0x9000_0000_0000_0021n,
        0n,
      ]);
      await t.expectRead(later, [removal(0x1e, 3)]);
    },
  },
  {
    name: 'H_BULK_REMOVE stops at the end mark, and at a request it does not understand',
    section: '6',
    async run(t) {
      const vm = await t.vm(18);
      await t.put(vm, run(1, 4));
      const absolute = (ptex: bigint): bigint => (0x40n << 56n) | ptex;
      const ended = await hcall(t, vm, H_BULK_REMOVE, absolute(1n), 0n, 0xc0n << 56n, 0n, absolute(2n), 0n);
      assert.deepEqual(
        [ended[0], ended[1], ended[3], ended[5]],
        [H_SUCCESS, (0x8cn << 56n) | 1n, 0xc0n << 56n, absolute(2n)],
      );
      const bad = await hcall(
        t,
        vm,
        H_BULK_REMOVE,
        absolute(2n),
        0n,
        (0x43n << 56n) | 1n,
        0n,
        absolute(3n),
        0n,
      );
      assert.deepEqual(
        [bad[0], bad[1], bad[3], bad[5]],
        [H_PARAMETER, (0x8cn << 56n) | 2n, (0xa3n << 56n) | 1n, absolute(3n)],
      );
      await t.expectTable(vm, removal(0, 3), run(3, 2, 16_379));
    },
  },
  {
    name: 'H_PROTECT sets protection, key and N, and is a change even when it changes nothing',
    section: '6',
    async run(t) {
      const vm = await t.vm(18);
      await t.put(vm, record(40, [[0x1n, 0x2_0190n]]));
      const later = await t.laterReader(vm);
      const expected: Entry = [0x1n, 0xb000_0000_0002_0f97n];
      for (let round = 0; round < 2; round++) {
        assert.equal(await status(t, vm, H_PROTECT, 0x3f07n, 40n), H_SUCCESS);
        await t.expectRead(later, [record(40, [expected])]);
      }
      assert.equal(await status(t, vm, H_PROTECT, AVPN, 40n, 0x80n), H_NOT_FOUND);
      assert.equal(await status(t, vm, H_PROTECT, 0n, 41n), H_NOT_FOUND);
      assert.equal(await status(t, vm, H_PROTECT, 0n, 16_384n), H_PARAMETER);
      await t.expectRead(later, []);
    },
  },
  {
    name: 'H_READ shows R and C that nobody has collected, and collects nothing',
    section: '6',
    async run(t) {
      const { vm, entry } = await pending(t, true);
      assert.deepEqual((await hcall(t, vm, H_READ, 0n, 40n)).slice(0, 3), [H_SUCCESS, ...entry]);
      const four = await hcall(t, vm, H_READ, READ_4, 43n);
      assert.deepEqual(four.slice(0, 4), [H_SUCCESS, ...entry, 0n]);
      assert.equal(await status(t, vm, H_READ, 0n, 16_384n), H_PARAMETER);
      const handle = await t.open(vm, { startIndex: 100 });
      await t.expectRead(handle, [removal(100, 16_284)]);
      await t.expectRead(handle, [record(40, [entry])]);
    },
  },
  {
    name: 'H_CLEAR_REF clears R, and lets the changed-mark show as bit 62',
    section: '6',
    async run(t) {
      const vm = await t.vm(18);
      const later = await t.laterReader(vm);
      await t.put(vm, record(40, [[0x1n, 0x2_0192n]]));
      const clear = async (): Promise<bigint[]> => (await hcall(t, vm, H_CLEAR_REF, 0n, 40n)).slice(0, 2);
      assert.deepEqual(await clear(), [H_SUCCESS, MODIFIED | 0x2_0192n]);
      assert.deepEqual(await clear(), [H_SUCCESS, MODIFIED | 0x2_0092n]);
      await t.expectRead(later, [record(40, [[0x1n, 0x2_0092n]])]);
      assert.deepEqual(await clear(), [H_SUCCESS, 0x2_0092n]);
      await t.expectRead(later, []);
      assert.equal(await status(t, vm, H_CLEAR_REF, 0n, 41n), H_NOT_FOUND);
    },
  },
  {
    name: 'H_CLEAR_REF of an R that only the hardware knows leaves nothing to report',
    section: '6',
    async run(t) {
      const { vm, entry } = await pending(t, false);
      const later = await t.open(vm, { startIndex: 100 });
      await t.expectRead(later, [removal(100, 16_284)]);
      assert.deepEqual((await hcall(t, vm, H_CLEAR_REF, 0n, 40n)).slice(0, 2), [H_SUCCESS, entry[1]]);
      await t.expectRead(later, []);
      await t.guest(vm).access(40, { store: false });
      await t.expectRead(later, [record(40, [entry])]);
    },
  },
  {
    name: 'H_CLEAR_MOD of a C that only the hardware knows is no change',
    section: '6',
    async run(t) {
      const { vm, entry } = await pending(t, true);
      const later = await t.open(vm, { startIndex: 100 });
      await t.expectRead(later, [removal(100, 16_284)]);
      assert.deepEqual((await hcall(t, vm, H_CLEAR_MOD, 0n, 40n)).slice(0, 2), [H_SUCCESS, entry[1]]);
      await t.expectRead(later, [record(40, [[entry[0], entry[1] & ~CHANGED]])]);
      await t.expectRead(later, []);
    },
  },
  {
    name: 'changes by hypercall are marked only while a read descriptor is open',
    section: '3.2',
    async run(t) {
      const vm = await t.vm(18);
      await t.put(vm, run(9, 2));
      assert.equal(await status(t, vm, H_ENTER, EXACT, 8n, ...PLAIN), H_SUCCESS);
      assert.equal(await status(t, vm, H_PROTECT, 0x2n, 9n), H_SUCCESS);
      assert.equal(await status(t, vm, H_REMOVE, 0n, 10n), H_SUCCESS);
      const later = await t.open(vm, { startIndex: 100 });
      await t.expectRead(later, [removal(100, 16_284)]);
      await t.expectRead(later, []);
      assert.equal(await status(t, vm, H_REMOVE, 0n, 8n), H_SUCCESS);
      assert.equal(await status(t, vm, H_PROTECT, 0x2n, 9n), H_SUCCESS);
      await t.expectRead(later, [removal(8), record(9, [[0x1n, 0x192n]])]);
    },
  },
];

/** Cases that need more of the guest than a vcpu. */
const specialCases: readonly ConformanceCase[] = [
  {
    name: 'a resize loses R and C that no reader has collected',
    section: '0 #11',
    requires: ['vcpu', 'resize'],
    async run(t) {
      const { vm, entry } = await pending(t, true);
      await t.makeMmuReady(vm);
      const later = await t.open(vm, { startIndex: 16_384 });
      await t.expectRead(later, []);
      await resizeTable(vm, 19);
      await t.expectRead(later, []);
      await t.expectTable(vm, removal(0, 40), record(40, [UNTOUCHED], 32_727));
      assert.deepEqual((await hcall(t, vm, H_READ, 0n, 40n)).slice(0, 3), [H_SUCCESS, ...entry]);
    },
  },
  {
    name: 'a radix guest reads as 0 and refuses writes, and its old marks are gone with the table',
    section: '0 #9, 11 #21',
    requires: ['vcpu', 'radix'],
    async run(t) {
      const { vm } = await pending(t, true);
      const later = await t.laterReader(vm);
      const writer = await t.open(vm, { access: 'write' });
      await t.guest(vm).access(40, { store: true });
      await t.put(vm, run(3, 1));
      await t.guest(vm).setRadix(true);
      assert.equal(vm.hptOrder, undefined);
      await t.expectRead(later, []);
      await t.expectErrno(writer.write(encode(run(3, 1))), 'EINVAL', 'write');
      await t.expectErrno(writer.write(new Uint8Array(0)), 'EINVAL', 'write');
      const opened = await t.open(vm);
      await t.expectRead(opened, []);
      await t.guest(vm).setRadix(false);
      await vm.allocateHpt(18);
      await t.expectRead(later, []);
      await t.expectRead(opened, [removal(0, 16_384)]);
    },
  },
];

export const guestCases: readonly ConformanceCase[] = [
  ...cases.map((each): ConformanceCase => ({ ...each, requires: ['vcpu'] })),
  ...specialCases,
];
