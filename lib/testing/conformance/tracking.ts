import type { ConformanceCase } from './context.js';
import { encode, removal, run } from './stream.js';

/** Later passes: which changes come, to whom, and when (kernel-abi.md 2.3 to 2.5, 3.2). */
export const trackingCases: readonly ConformanceCase[] = [
  {
    name: 'a later pass brings each changed entry once',
    section: '11 #5',
    async run(t) {
      const vm = await t.vm(18);
      const handle = await t.laterReader(vm);
      await t.put(vm, run(1, 1), run(2, 1));
      await t.expectRead(handle, [run(1, 2)]);
      await t.put(vm, run(2, 1));
      await t.expectRead(handle, [run(2, 1)]);
      await t.expectRead(handle, []);
    },
  },
  {
    name: 'a later pass has no record with a clean entry, and valid entries come first in a record',
    section: '2.3',
    async run(t) {
      const vm = await t.vm(18);
      await t.put(vm, run(204, 1), run(206, 1));
      const handle = await t.laterReader(vm);
      await t.put(vm, run(200, 2), run(203, 1), removal(204), removal(206), run(207, 1));
      await t.expectRead(handle, [run(200, 2), run(203, 1, 1), removal(206), run(207, 1)]);
    },
  },
  {
    name: 'an entry removed and entered again between two reads is one valid entry',
    section: '3',
    async run(t) {
      const vm = await t.vm(18);
      await t.put(vm, run(7, 1));
      const handle = await t.laterReader(vm);
      await t.put(vm, removal(7), run(7, 1));
      await t.expectRead(handle, [run(7, 1)]);
    },
  },
  {
    name: 'a removed entry is reported once, and no more after that',
    section: '3',
    async run(t) {
      const vm = await t.vm(18);
      await t.put(vm, run(7, 1));
      const handle = await t.laterReader(vm);
      await t.put(vm, removal(7));
      await t.expectRead(handle, [removal(7)]);
      await t.expectRead(handle, []);
    },
  },
  {
    name: 'rewriting an entry with what it holds is a change, removing an invalid one is not',
    section: '3.2',
    async run(t) {
      const vm = await t.vm(18);
      await t.put(vm, run(7, 1));
      const handle = await t.laterReader(vm);
      await t.put(vm, run(7, 1), removal(8, 3));
      await t.expectRead(handle, [run(7, 1)]);
    },
  },
  {
    name: 'of a wide removal only the entries that were valid are changes',
    section: '11 #14',
    async run(t) {
      const vm = await t.vm(18);
      await t.put(vm, run(0, 4), run(5, 6), run(12, 6));
      const handle = await t.laterReader(vm);
      await t.put(vm, removal(0, 18));
      await t.expectRead(handle, [removal(0, 4), removal(5, 6), removal(12, 6)]);
    },
  },
  {
    name: 'a zero read says nothing about entries behind the cursor',
    section: '0 #7',
    async run(t) {
      const vm = await t.vm(18);
      const handle = await t.laterReader(vm);
      await t.put(vm, run(40, 1));
      await t.expectRead(handle, [run(40, 1)], 25);
      await t.put(vm, run(10, 1));
      await t.expectRead(handle, [], 25);
      await t.expectRead(handle, [run(10, 1)], 25);
      await t.expectRead(handle, [], 25);
    },
  },
  {
    name: 'a read that reaches the end has wrapped: the next one begins at entry 0',
    section: '2.4',
    async run(t) {
      const vm = await t.vm(18);
      const handle = await t.laterReader(vm);
      await t.put(vm, run(40, 1));
      await t.expectRead(handle, [run(40, 1)]);
      await t.put(vm, run(10, 1));
      await t.expectRead(handle, [run(10, 1)]);
      await t.expectRead(handle, []);
    },
  },
  {
    name: 'a record that ends at the table end wraps, even where it fills the buffer',
    section: '2.4',
    async run(t) {
      const vm = await t.vm(18);
      await t.put(vm, run(16_383, 1));
      const handle = await t.open(vm, { startIndex: 16_383 });
      await t.expectRead(handle, [run(16_383, 1)], 25);
      await t.put(vm, run(0, 1));
      await t.expectRead(handle, [run(0, 1)], 25);
    },
  },
  {
    name: 'changed-marks belong to the table: who reads first takes them',
    section: '0 #8, 11 #6',
    async run(t) {
      const vm = await t.vm(18);
      const a = await t.laterReader(vm);
      const b = await t.laterReader(vm);
      await t.put(vm, run(7, 1));
      await t.expectRead(a, [run(7, 1)]);
      await t.expectRead(b, []);
    },
  },
  {
    name: 'the first pass of one descriptor takes the marks another waits for',
    section: '11 #7',
    async run(t) {
      const vm = await t.vm(18);
      await t.put(vm, run(5, 5));
      const a = await t.laterReader(vm);
      await t.put(vm, run(9, 1));
      const c = await t.open(vm);
      await t.expectRead(c, [removal(0, 5), run(5, 5, 16_374)]);
      await t.expectRead(a, []);
    },
  },
  {
    name: 'the first passes of two descriptors are both complete',
    section: '3',
    async run(t) {
      const vm = await t.vm(18);
      const a = await t.open(vm);
      const b = await t.open(vm);
      await t.put(vm, run(5, 5));
      await t.expectRead(a, [removal(0, 5), run(5, 5, 16_374)]);
      await t.expectRead(b, [removal(0, 5), run(5, 5, 16_374)]);
      await t.expectRead(a, []);
    },
  },
  {
    name: 'a change made while no read descriptor was open is in no later pass',
    section: '3.2',
    async run(t) {
      const vm = await t.vm(18);
      await t.put(vm, run(7, 1));
      const handle = await t.open(vm, { startIndex: 100 });
      await t.expectRead(handle, [removal(100, 16_284)]);
      await t.expectRead(handle, []);
    },
  },
  {
    name: 'an uncollected mark survives the descriptor it was made for',
    section: '3.2',
    async run(t) {
      const vm = await t.vm(18);
      const a = await t.laterReader(vm);
      await t.put(vm, run(7, 1));
      await a.close();
      const b = await t.open(vm, { startIndex: 16_384 });
      await t.expectRead(b, []);
      await t.expectRead(b, [run(7, 1)]);
    },
  },
  {
    name: 'without a read descriptor, writing an entry clears its mark and removing it leaves the mark',
    section: '3.2',
    async run(t) {
      const vm = await t.vm(18);
      const a = await t.laterReader(vm);
      await t.put(vm, run(7, 1), run(9, 1));
      await a.close();
      await t.put(vm, run(7, 1), removal(9));
      const b = await t.open(vm, { startIndex: 100 });
      await t.expectRead(b, [removal(100, 16_284)]);
      await t.expectRead(b, [removal(9)]);
    },
  },
  {
    name: 'a write descriptor alone tracks nothing, and needs no reader to write',
    section: '4.6',
    async run(t) {
      const vm = await t.vm(18);
      const a = await t.open(vm, { access: 'write' });
      const b = await t.open(vm, { access: 'write', startIndex: 9000 });
      await a.write(encode(run(1, 1)));
      await b.write(encode(run(2, 1)));
      await t.expectTable(vm, removal(0), run(1, 2, 16_381));
      const later = await t.open(vm, { startIndex: 100 });
      await t.expectRead(later, [removal(100, 16_284)]);
      await t.expectRead(later, []);
    },
  },
  {
    name: 'a small buffer takes no marks of entries it had no room for',
    section: '2.3',
    async run(t) {
      const vm = await t.vm(18);
      const handle = await t.laterReader(vm);
      await t.put(vm, run(100, 5));
      await t.expectRead(handle, [run(100, 2)], 41);
      await t.expectRead(handle, [run(102, 2)], 41);
      await t.expectRead(handle, [run(104, 1)], 41);
      await t.expectRead(handle, [], 41);
    },
  },
];
