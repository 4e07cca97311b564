import assert from 'node:assert/strict';
import { rejectionOf, type ConformanceCase } from './context.js';
import { encode, PLAIN, record, removal, run } from './stream.js';

/** KVM_PPC_ALLOCATE_HTAB: sizes, resets and what open descriptors see of them (kernel-abi.md 5.1). */
export const allocationCases: readonly ConformanceCase[] = [
  {
    name: 'an allocation gives the VM a table of its order, and of another order later',
    section: '5.1',
    async run(t) {
      const vm = await t.vm();
      assert.equal(vm.hptOrder, undefined);
      for (const order of [18, 20, 19, 19]) {
        await vm.allocateHpt(order);
        assert.equal(vm.hptOrder, order);
      }
      await t.expectTable(vm, removal(0, 32_768));
    },
  },
  {
    name: 'an order that no table has is refused before the kernel frees the table',
    section: 'contract, 0 #5',
    async run(t) {
      const vm = await t.vm(18);
      await t.put(vm, run(3, 1));
      for (const order of [0, 1, 17, 47, 64, -1, 18.5, Number.NaN, 2 ** 32 + 18]) {
        const error = await rejectionOf(vm.allocateHpt(order));
        assert.ok(error instanceof RangeError, `order ${order}`);
        assert.equal((error as { code?: unknown }).code, 'ERR_OUT_OF_RANGE');
      }
      assert.equal(vm.hptOrder, 18);
      await t.expectTable(vm, removal(0, 3), run(3, 1, 16_380));
    },
  },
  {
    name: 'order 0 is refused without a table too, where the kernel would crash',
    section: 'contract, 0 #5',
    async run(t) {
      const vm = await t.vm();
      assert.ok((await rejectionOf(vm.allocateHpt(0))) instanceof RangeError);
      await vm.allocateHpt(18);
    },
  },
  {
    name: 'an allocation without memory for it is ENOMEM, and the old table is gone',
    section: '5.1',
    async run(t) {
      const vm = await t.vm(18);
      const writer = await t.open(vm, { access: 'write' });
      const later = await t.laterReader(vm);
      await writer.write(encode(run(3, 1)));
      await t.expectErrno(vm.allocateHpt(46), 'ENOMEM', 'KVM_PPC_ALLOCATE_HTAB');
      assert.equal(vm.hptOrder, undefined);
      await t.expectRead(later, []);
      await t.expectErrno(writer.write(encode(run(3, 1))), 'EINVAL', 'write');
      await vm.allocateHpt(18);
      await t.expectTable(vm, removal(0, 16_384));
    },
  },
  {
    name: 'a reset of the same order marks nothing: what was clean is silently gone',
    section: '0 #6, 11 #5',
    async run(t) {
      const vm = await t.vm(18);
      const later = await t.laterReader(vm);
      await t.put(vm, run(1, 2));
      await t.expectRead(later, [run(1, 2)]);
      await t.put(vm, run(2, 1));
      await vm.allocateHpt(18);
      await t.expectRead(later, [removal(2)]);
      await t.expectRead(later, []);
      await t.expectTable(vm, removal(0, 16_384));
    },
  },
  {
    name: 'after an allocation of another order an old descriptor sees nothing but new changes',
    section: '5.1',
    async run(t) {
      const vm = await t.vm(18);
      const later = await t.laterReader(vm);
      await t.put(vm, run(1, 2));
      await vm.allocateHpt(19);
      await t.expectRead(later, []);
      await t.put(vm, run(20_000, 1));
      await t.expectRead(later, [run(20_000, 1)]);
    },
  },
  {
    name: 'a descriptor in its first pass goes on with it in a larger table',
    section: '2.4',
    async run(t) {
      const vm = await t.vm(18);
      await t.put(vm, run(0, 1), run(2, 1));
      const handle = await t.open(vm);
      await t.expectRead(handle, [run(0, 1, 1)], 25);
      await vm.allocateHpt(20);
      await t.expectRead(handle, [removal(2, 65_534)], 25);
      await t.expectRead(handle, [], 25);
    },
  },
  {
    name: 'a cursor behind the end of a smaller table wraps with a zero read',
    section: '2.4',
    async run(t) {
      const vm = await t.vm(20);
      const handle = await t.open(vm);
      await t.expectRead(handle, [removal(0, 65_535)], 25);
      await vm.allocateHpt(18);
      await t.expectRead(handle, [], 25);
      await t.put(vm, run(3, 1));
      await t.expectRead(handle, [run(3, 1)], 25);
    },
  },
  {
    name: 'a write descriptor goes on with the table of another order',
    section: '4.6',
    async run(t) {
      const vm = await t.vm(18);
      const writer = await t.open(vm, { access: 'write' });
      await t.expectErrno(writer.write(encode(run(20_000, 1))), 'EINVAL', 'write');
      await vm.allocateHpt(19);
      assert.equal(await writer.write(encode(run(20_000, 1))), 24);
    },
  },
  {
    name: 'while a vcpu runs an allocation is EBUSY and changes nothing',
    section: '5.1',
    requires: ['running'],
    async run(t) {
      const vm = await t.vm(18);
      await t.makeMmuReady(vm);
      await t.put(vm, run(3, 1));
      await t.guest(vm).setRunning(true);
      await t.expectErrno(vm.allocateHpt(19), 'EBUSY', 'KVM_PPC_ALLOCATE_HTAB');
      await t.expectErrno(vm.allocateHpt(18), 'EBUSY', 'KVM_PPC_ALLOCATE_HTAB');
      assert.equal(vm.hptOrder, 18);
      await t.guest(vm).setRunning(false);
      const vrma = record(16_383, [[0x4001_ffff_ff00_0001n, PLAIN[1]]]);
      await t.expectTable(vm, removal(0, 3), run(3, 1, 16_379), vrma);
      await vm.allocateHpt(19);
    },
  },
];
