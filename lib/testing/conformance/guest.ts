import assert from 'node:assert/strict';
import { resizeTable } from '../resize.js';
import { H_REMOVE, H_ENTER, H_READ, H_PROTECT } from '../../vm/emulated/hcalls.js';
import type { ConformanceCase } from './context.js';
import { H_SUCCESS, EXACT, UNTOUCHED, hcall, status, pending } from './guest-calls.js';
import { encode, PLAIN, record, removal, run } from './stream.js';

/** Loads and stores by the guest, and what of a guest's changes is marked (kernel-abi.md 3, 6). */
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
