import assert from 'node:assert/strict';
import type { HtabHandle, HtabVm } from '../../vm/contract.js';
import { H_BULK_REMOVE, H_CLEAR_MOD, H_PROTECT, H_REMOVE } from '../../vm/emulated/hcalls.js';
import type { ConformanceCase, ConformanceContext } from './context.js';
import { CHANGED, H_SUCCESS, hcall, pending, REFERENCED, status, UNTOUCHED } from './guest-calls.js';
import { record, removal } from './stream.js';

/** The host page that {@link UNTOUCHED} maps, where host pages have 4 KiB and where they have 64 KiB. */
const STORED_PAGES: readonly number[] = [0x101, 0x10];

const CHANGED_ENTRY = record(40, [[UNTOUCHED[0], UNTOUCHED[1] | REFERENCED | CHANGED]]);

/** A guest with entry 40, and a reader past its first pass. */
async function begin(t: ConformanceContext): Promise<{ vm: HtabVm; later: HtabHandle }> {
  const vm = await t.vm(18);
  await t.put(vm, record(40, [UNTOUCHED]));
  const later = await t.laterReader(vm);
  await expectLog(t, vm, false);
  return { vm, later };
}

/** The dirty log names the page of entry 40, or none. */
async function expectLog(t: ConformanceContext, vm: HtabVm, stored: boolean): Promise<void> {
  const pages: number[] = [];
  for (const [index, byte] of (await t.guest(vm).dirtyLog()).entries()) {
    for (let bit = 0; bit < 8; bit++) if ((byte >> bit) & 1) pages.push(index * 8 + bit);
  }
  const known = pages.every((page) => STORED_PAGES.includes(page));
  assert.ok(known && pages.length === (stored ? 1 : 0), `the dirty log has pages ${pages.join(', ')}`);
}

/** KVM_GET_DIRTY_LOG beside passes: each collects the hardware's C bits, and takes none from the other. */
const cases: readonly Omit<ConformanceCase, 'requires' | 'section'>[] = [
  {
    name: 'a pass that collects C leaves its page to the dirty log',
    async run(t) {
      const { vm, later } = await begin(t);
      await t.guest(vm).access(40, { store: true });
      await t.expectRead(later, [CHANGED_ENTRY]);
      await expectLog(t, vm, true);
      await expectLog(t, vm, false);
      await t.expectRead(later, []);
    },
  },
  {
    name: 'the dirty log leaves C to the pass after it',
    async run(t) {
      const { vm, later } = await begin(t);
      await t.guest(vm).access(40, { store: true });
      await expectLog(t, vm, true);
      await t.expectRead(later, [CHANGED_ENTRY]);
      await t.expectRead(later, []);
      await expectLog(t, vm, false);
    },
  },
  {
    name: 'the dirty log has every store, a pass only the first one since C was clear',
    async run(t) {
      const { vm, later } = await begin(t);
      await t.guest(vm).access(40, { store: true });
      await expectLog(t, vm, true);
      await t.expectRead(later, [CHANGED_ENTRY]);
      await t.guest(vm).access(40, { store: true });
      await t.expectRead(later, []);
      await expectLog(t, vm, true);
      await t.expectRead(later, []);
    },
  },
  {
    name: 'a load is in no dirty log, and the log leaves R to the pass',
    async run(t) {
      const { vm, later } = await begin(t);
      await t.guest(vm).access(40, { store: false });
      await expectLog(t, vm, false);
      await t.expectRead(later, [record(40, [[UNTOUCHED[0], UNTOUCHED[1] | REFERENCED]])]);
    },
  },
  {
    name: 'the page of an entry that the guest removes is in the dirty log, but on POWER8',
    async run(t) {
      const { vm, later } = await begin(t);
      await t.guest(vm).access(40, { store: true });
      assert.equal(await status(t, vm, H_REMOVE, 0n, 40n), H_SUCCESS);
      await expectLog(t, vm, !t.has('power8'));
      await t.expectRead(later, [removal(40)]);
      await expectLog(t, vm, false);
    },
  },
  {
    name: 'the page of an entry that the guest removes among others is in the dirty log, but on POWER8',
    async run(t) {
      const { vm } = await begin(t);
      await t.guest(vm).access(40, { store: true });
      const [request, end] = [(1n << 62n) | 40n, 3n << 62n];
      assert.equal(await status(t, vm, H_BULK_REMOVE, request, 0n, end, 0n), H_SUCCESS);
      await expectLog(t, vm, !t.has('power8'));
    },
  },
  {
    name: 'the page of an entry that a descriptor removes or replaces is in the dirty log',
    async run(t) {
      const { vm } = await begin(t);
      await t.guest(vm).access(40, { store: true });
      await t.put(vm, record(40, [UNTOUCHED]));
      await expectLog(t, vm, true);
      await t.guest(vm).access(40, { store: true });
      await t.put(vm, removal(40));
      await expectLog(t, vm, true);
      await expectLog(t, vm, false);
    },
  },
  {
    name: 'H_PROTECT leaves C to the dirty log',
    async run(t) {
      const { vm } = await begin(t);
      await t.guest(vm).access(40, { store: true });
      assert.equal(await status(t, vm, H_PROTECT, 3n, 40n), H_SUCCESS);
      await expectLog(t, vm, true);
      await expectLog(t, vm, false);
    },
  },
  {
    name: 'H_CLEAR_MOD leaves the page to the dirty log, but on POWER8; H_REMOVE knows of C after a log',
    async run(t) {
      const { vm, later } = await begin(t);
      await t.guest(vm).access(40, { store: true });
      assert.equal(await status(t, vm, H_CLEAR_MOD, 0n, 40n), H_SUCCESS);
      await expectLog(t, vm, !t.has('power8'));
      await t.expectRead(later, [record(40, [[UNTOUCHED[0], UNTOUCHED[1] | REFERENCED]])]);
      await t.guest(vm).access(40, { store: true });
      await expectLog(t, vm, true);
      const removed = await hcall(t, vm, H_REMOVE, 0n, 40n);
      assert.equal(removed[2], CHANGED_ENTRY.entries[0]?.[1]);
      await expectLog(t, vm, false);
    },
  },
  {
    name: 'a dirty log that no reader stood beside leaves C in the table without a mark',
    async run(t) {
      const { vm } = await pending(t, true);
      await expectLog(t, vm, true);
      const later = await t.open(vm, { startIndex: 100 });
      await t.expectRead(later, [removal(100, 16_284)]);
      await t.expectRead(later, [record(40, [[UNTOUCHED[0], UNTOUCHED[1] | REFERENCED | CHANGED]])]);
      await t.expectTable(vm, removal(0, 40), record(40, CHANGED_ENTRY.entries, 16_343));
    },
  },
];

export const dirtyLogCases: readonly ConformanceCase[] = cases.map((each): ConformanceCase => ({
  ...each,
  section: '3.3',
  requires: ['vcpu', 'dirty-log'],
}));
