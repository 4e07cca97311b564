import assert from 'node:assert/strict';
import { resizeHpt } from '../../io/resize.js';
import { prepareTable, resizeTable } from '../resize.js';
import type { Capability, ConformanceCase } from './context.js';
import { BOLTED, record, removal, run, VRMA, type Entry } from './stream.js';

const PREPARE = 'KVM_PPC_RESIZE_HPT_PREPARE';
const COMMIT = 'KVM_PPC_RESIZE_HPT_COMMIT';
const resize = (...more: readonly Capability[]): readonly Capability[] => ['resize', ...more];

/** 4K page 5 of segment 0, in the second slot of its secondary group; bolted. */
const PAGE_5: Entry = [0x13n, 0x190n];
/** Where {@link PAGE_5} stands, by order: the complement of its hash leads to another PTEG in each. */
const PAGE_5_PTEX = { 18: 16_338, 19: 32_722, 20: 65_490 } as const;

/** KVM_PPC_RESIZE_HPT_PREPARE and COMMIT (kernel-abi.md 5.2, 5.3). */
export const resizingCases: readonly ConformanceCase[] = [
  {
    name: 'a preparation answers with a wait first and is ready later; order 0 cancels it',
    section: '5.2',
    requires: resize(),
    async run(t) {
      const vm = await t.vm(18);
      assert.equal(await vm.prepareHptResize(0), 0);
      assert.equal(await vm.prepareHptResize(19), 100);
      await prepareTable(vm, 19);
      assert.equal(await vm.prepareHptResize(19), 0);
      assert.equal(await vm.prepareHptResize(20), 100);
      assert.equal(await vm.prepareHptResize(0), 0);
      assert.equal(await vm.prepareHptResize(20), 100);
      assert.equal(await vm.prepareHptResize(0), 0);
      assert.equal(vm.hptOrder, 18);
    },
  },
  {
    name: 'an order that no table has is EINVAL, and keeps what is prepared',
    section: '5.2',
    requires: resize(),
    async run(t) {
      const vm = await t.vm(18);
      await t.makeMmuReady(vm);
      await prepareTable(vm, 19);
      for (const order of [1, 17, 47]) {
        await t.expectErrno(vm.prepareHptResize(order), 'EINVAL', PREPARE);
        await t.expectErrno(vm.commitHptResize(order), 'EINVAL', COMMIT);
      }
      assert.equal(await vm.prepareHptResize(19), 0);
      await vm.commitHptResize(19);
      assert.equal(vm.hptOrder, 19);
    },
  },
  {
    name: 'a preparation without memory for it ends in ENOMEM and is dropped',
    section: '5.2',
    requires: resize(),
    async run(t) {
      const vm = await t.vm(18);
      await t.expectErrno(prepareTable(vm, 46), 'ENOMEM', PREPARE);
      assert.equal(await vm.prepareHptResize(46), 100);
      await vm.prepareHptResize(0);
    },
  },
  {
    name: 'before the MMU is ready a commit is EIO and discards what is prepared',
    section: '0 #10',
    requires: resize(),
    async run(t) {
      const vm = await t.vm(18);
      await prepareTable(vm, 19);
      await t.expectErrno(vm.commitHptResize(19), 'EIO', COMMIT);
      await t.makeMmuReady(vm);
      await t.expectErrno(vm.commitHptResize(19), 'ENXIO', COMMIT);
      assert.equal(vm.hptOrder, 18);
    },
  },
  {
    name: 'a commit of what is not prepared is ENXIO and discards what is',
    section: '5.3',
    requires: resize(),
    async run(t) {
      const vm = await t.vm(18);
      await t.makeMmuReady(vm);
      await t.expectErrno(vm.commitHptResize(19), 'ENXIO', COMMIT);
      await t.expectErrno(vm.commitHptResize(0), 'ENXIO', COMMIT);
      await prepareTable(vm, 19);
      await t.expectErrno(vm.commitHptResize(20), 'ENXIO', COMMIT);
      await t.expectErrno(vm.commitHptResize(19), 'ENXIO', COMMIT);
      assert.equal(vm.hptOrder, 18);
    },
  },
  {
    name: 'an allocation makes the MMU not ready and leaves what is prepared',
    section: '5.2',
    requires: resize(),
    async run(t) {
      const vm = await t.vm(18);
      await t.makeMmuReady(vm);
      await prepareTable(vm, 19);
      await vm.allocateHpt(18);
      assert.equal(await vm.prepareHptResize(19), 0);
      await t.makeMmuReady(vm);
      await vm.commitHptResize(19);
      assert.equal(vm.hptOrder, 19);
    },
  },
  {
    name: 'bolted entries move to their group in the other table, slot kept, and all others are dropped',
    section: '5.3',
    requires: resize(),
    async run(t) {
      const vm = await t.vm(19);
      await t.put(vm, run(7, 3), record(PAGE_5_PTEX[19], [PAGE_5]));
      await t.makeMmuReady(vm);
      for (const order of [18, 20, 20] as const) {
        await resizeHpt(vm, order);
        assert.equal(vm.hptOrder, order);
        const ptex = PAGE_5_PTEX[order];
        await t.expectTable(vm, removal(0, ptex), record(ptex, [PAGE_5], 2 ** (order - 4) - ptex - 1));
      }
    },
  },
  {
    name: 'after a commit an old descriptor sees only moved entries whose mark was set',
    section: '5.3',
    requires: resize(),
    async run(t) {
      const vm = await t.vm(18);
      await t.put(vm, record(0, [BOLTED]), record(PAGE_5_PTEX[18], [PAGE_5]), run(9, 1));
      await t.makeMmuReady(vm);
      const later = await t.laterReader(vm);
      await t.put(vm, record(PAGE_5_PTEX[18], [PAGE_5]), run(9, 1));
      await resizeTable(vm, 19);
      await t.expectRead(later, [record(PAGE_5_PTEX[19], [PAGE_5])]);
      await t.expectRead(later, []);
    },
  },
  {
    name: 'a shrink that would put two bolted entries into one slot is ENOSPC, and the old table stays',
    section: '5.3',
    requires: resize(),
    async run(t) {
      const vm = await t.vm(19);
      // 4K pages 5 and 2053 of segment 0: order 18 has 2048 PTEGs.
      const entries = [record(40, [[0x11n, 0x190n]]), record(2053 * 8, [[0x91n, 0x1190n]])] as const;
      await t.put(vm, ...entries, run(7, 1));
      await t.makeMmuReady(vm);
      await prepareTable(vm, 18);
      await t.expectErrno(vm.commitHptResize(18), 'ENOSPC', COMMIT);
      assert.equal(vm.hptOrder, 19);
      await t.expectTable(
        vm,
        removal(0, 7),
        run(7, 1, 32),
        { ...entries[0], invalid: 2053 * 8 - 41 },
        { ...entries[1], invalid: 32_767 - 2053 * 8 - 1 },
        record(32_767, [VRMA]),
      );
      await t.expectErrno(vm.commitHptResize(18), 'ENXIO', COMMIT);
    },
  },
  {
    name: 'a resize that would crash the kernel is refused, and the table stays',
    section: 'contract, 0 #12',
    requires: resize(),
    async run(t) {
      const vm = await t.vm(18);
      const entry: Entry = [0x1015n, 0x90_0000_0010n];
      await t.put(vm, record(24, [entry]), record(32, [entry]));
      await t.makeMmuReady(vm);
      await t.expectState(resizeHpt(vm, 18), 'would-crash');
      assert.equal(await vm.prepareHptResize(18), 100);
      await vm.prepareHptResize(0);
      assert.equal(vm.hptOrder, 18);
      await t.expectTable(
        vm,
        removal(0, 24),
        record(24, [entry], 7),
        record(32, [entry], 16_350),
        record(16_383, [VRMA]),
      );
    },
  },
  {
    name: 'a radix guest has no resize',
    section: '11 #21',
    requires: resize('radix'),
    async run(t) {
      const vm = await t.vm(18);
      await t.guest(vm).setRadix(true);
      await t.expectErrno(vm.prepareHptResize(19), 'EINVAL', PREPARE);
      await t.expectErrno(vm.commitHptResize(19), 'EINVAL', COMMIT);
    },
  },
];
