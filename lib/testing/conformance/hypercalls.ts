import assert from 'node:assert/strict';
import {
  H_REMOVE,
  H_ENTER,
  H_READ,
  H_CLEAR_MOD,
  H_CLEAR_REF,
  H_PROTECT,
  H_BULK_REMOVE,
} from '../../vm/emulated/hcalls.js';
import type { ConformanceCase } from './context.js';
import {
  H_SUCCESS,
  H_PARAMETER,
  H_PTEG_FULL,
  H_NOT_FOUND,
  EXACT,
  READ_4,
  AVPN,
  ANDCOND,
  MODIFIED,
  CHANGED,
  expectSlot,
  hcall,
  status,
  pending,
} from './guest-calls.js';
import { BOLTED, PLAIN, record, removal, run, type Entry } from './stream.js';

/** What the guest does to its table by hypercall (kernel-abi.md 6). */
const cases: readonly Omit<ConformanceCase, 'requires'>[] = [
  {
    name: 'H_REMOVE returns R and C that no reader has collected, and the later pass shows the removal',
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
    name: 'H_PROTECT keeps R and C that no reader has collected',
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
      const enterAt = (ptex: bigint, slot: bigint): Promise<void> =>
        expectSlot(t, vm, () => enter(0n, ptex), slot);
      await enterAt(47n, 42n);
      await enterAt(40n, 44n);
      assert.deepEqual(await enter(EXACT, 47n), [H_SUCCESS, 47n]);
      assert.equal((await enter(EXACT, 47n))[0], H_PTEG_FULL);
      await enterAt(41n, 45n);
      await enterAt(41n, 46n);
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
    name: 'H_READ shows R and C that no reader has collected, and collects nothing',
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
];

export const hypercallCases: readonly ConformanceCase[] = cases.map((each): ConformanceCase => ({
  ...each,
  requires: ['vcpu'],
}));
