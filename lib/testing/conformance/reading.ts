import assert from 'node:assert/strict';
import type { ConformanceCase } from './context.js';
import { BOLTED, PLAIN, encode, record, removal, run } from './stream.js';

/** Ten entries, read from the first of them on: the shapes of kernel-abi.md 2.3. */
const TEN = run(100, 10);
const WHOLE = [run(100, 10, 16_274)];

/** One descriptor, its first pass: sizes, records, start index (kernel-abi.md 2.2 to 2.4). */
export const readingCases: readonly ConformanceCase[] = [
  {
    name: 'an empty table is one invalid run, and nothing after it',
    section: '11 #1',
    async run(t) {
      const handle = await t.open(await t.vm(18));
      await t.expectRead(handle, [removal(0, 16_384)]);
      await t.expectRead(handle, []);
    },
  },
  {
    name: 'headers are little-endian and entries big-endian, with a run cut at 65535',
    section: '11 #2',
    async run(t) {
      const vm = await t.vm(20);
      await t.put(vm, record(5, [BOLTED]));
      const bytes = await t.read(await t.open(vm));
      const v = t.has('lock-bit') ? '51' : '11';
      assert.equal(
        Buffer.from(bytes).toString('hex'),
        `0000000000000500050000000100faff00000000000000${v}0000000000000190`,
      );
    },
  },
  {
    name: 'a first pass is contiguous and takes the last entry without a zero read',
    section: '11 #3',
    async run(t) {
      const vm = await t.vm(18);
      await t.put(vm, run(0, 1), run(2, 1), TEN, run(16_383, 1));
      const handle = await t.open(vm);
      const expected = [run(0, 1, 1), run(2, 1, 97), run(100, 10, 16_273), run(16_383, 1)];
      assert.equal(encode(...expected).length, 240);
      await t.expectRead(handle, expected);
      await t.expectRead(handle, []);
    },
  },
  {
    name: 'a small buffer cuts the pass into whole records, and loses nothing',
    section: '11 #4',
    async run(t) {
      const vm = await t.vm(18);
      await t.put(vm, run(0, 1), run(2, 1), TEN, run(16_383, 1));
      const handle = await t.open(vm);
      await t.expectRead(handle, [run(0, 1, 1), run(2, 1, 97)], 60);
      await t.expectRead(handle, [run(100, 3)], 60);
      await t.expectRead(handle, [run(103, 3)], 60);
      await t.expectRead(handle, [run(106, 3)], 60);
      await t.expectRead(handle, [run(109, 1, 16_273), run(16_383, 1)], 60);
      await t.expectRead(handle, [], 60);
    },
  },
  {
    name: 'a buffer of 24 bytes or fewer reads 0 and changes nothing',
    section: '0 #7, 2.3',
    async run(t) {
      const vm = await t.vm(18);
      await t.put(vm, TEN);
      const handle = await t.open(vm, { startIndex: 100 });
      for (const count of [0, 1, 8, 23, 24, 24]) await t.expectRead(handle, [], count);
      await t.expectRead(handle, WHOLE);
      await t.put(vm, TEN);
      await t.expectRead(handle, [], 24);
      await t.expectRead(handle, [TEN]);
    },
  },
  {
    name: 'a record is cut when the next entry would use the last byte of the buffer',
    section: '2.3',
    async run(t) {
      const vm = await t.vm(18);
      await t.put(vm, TEN);
      const shapes = [
        { count: 25, first: [run(100, 1)], second: [run(101, 1)] },
        { count: 40, first: [run(100, 1)], second: [run(101, 1)] },
        { count: 41, first: [run(100, 2)], second: [run(102, 2)] },
        { count: 56, first: [run(100, 2)], second: [run(102, 2)] },
        { count: 89, first: [run(100, 5)], second: [run(105, 5, 16_274)] },
        { count: 168, first: [run(100, 9)], second: [run(109, 1, 16_274)] },
        { count: 169, first: WHOLE, second: [] },
        { count: 4096, first: WHOLE, second: [] },
      ];
      for (const { count, first, second } of shapes) {
        const handle = await t.open(vm, { startIndex: 100 });
        await t.expectRead(handle, first, count);
        await t.expectRead(handle, second, count);
        await handle.close();
      }
    },
  },
  {
    name: 'invalid runs need no room: as many fit as there are headers',
    section: '2.3',
    async run(t) {
      const vm = await t.vm(21);
      const runs = [removal(0, 65_535), removal(65_535, 65_535), removal(131_070, 2)];
      await t.expectRead(await t.open(vm), runs);
      const narrow = await t.open(vm);
      for (const each of runs) await t.expectRead(narrow, [each], 25);
      await t.expectRead(narrow, [], 25);
      const wider = await t.open(vm);
      await t.expectRead(wider, runs.slice(0, 2), 33);
      await t.expectRead(wider, runs.slice(2), 33);
    },
  },
  {
    name: 'valid runs are cut at 65535',
    section: '2.3',
    async run(t) {
      const vm = await t.vm(21);
      await t.put(vm, run(0, 65_535), run(65_535, 65_535));
      await t.expectRead(await t.open(vm), [run(0, 65_535), run(65_535, 65_535, 2)], 2_100_000);
    },
  },
  {
    name: 'a pass begins at the start index and leaves out what lies before it',
    section: '2.4',
    async run(t) {
      const vm = await t.vm(18);
      await t.put(vm, run(5, 1));
      const handle = await t.open(vm, { startIndex: 100 });
      await t.expectRead(handle, [removal(100, 16_284)]);
      await t.expectRead(handle, []);
      await t.put(vm, run(5, 1));
      await t.expectRead(handle, [run(5, 1)]);
    },
  },
  {
    name: 'the last entry may be the start index',
    section: '11 #8',
    async run(t) {
      const handle = await t.open(await t.vm(18), { startIndex: 16_383 });
      await t.expectRead(handle, [removal(16_383)]);
      await t.expectRead(handle, []);
    },
  },
  {
    name: 'a start index behind the table ends the first pass with the first read',
    section: '11 #9',
    async run(t) {
      for (const startIndex of [16_384, 2 ** 32, 2 ** 40]) {
        const vm = await t.vm(18);
        const handle = await t.open(vm, { startIndex });
        await t.expectRead(handle, [], 24);
        await t.expectRead(handle, []);
        await t.expectRead(handle, []);
        await t.put(vm, run(3, 1));
        await t.expectRead(handle, [run(3, 1)]);
      }
    },
  },
  {
    name: 'a read of a VM without a table returns 0 and burns the first pass',
    section: '0 #9',
    async run(t) {
      const vm = await t.vm();
      assert.equal(vm.hptOrder, undefined);
      const burnt = await t.open(vm);
      const fresh = await t.open(vm);
      await t.expectRead(burnt, []);
      await vm.allocateHpt(18);
      await t.expectRead(burnt, []);
      await t.expectRead(fresh, [removal(0, 16_384)]);
      await t.put(vm, run(3, 1));
      await t.expectRead(burnt, [run(3, 1)]);
    },
  },
  {
    name: 'only the view given is written, wherever it lies in its memory',
    section: '2.3',
    async run(t) {
      const vm = await t.vm(18);
      await t.put(vm, TEN);
      const memory = new Uint8Array(512).fill(0xa5);
      for (const offset of [1, 2, 3, 8]) {
        const handle = await t.open(vm, { startIndex: 100 });
        assert.equal(await handle.read(memory.subarray(offset, offset + 56)), 40);
        const expected = new Uint8Array(512).fill(0xa5);
        const cut = run(100, 2, 0, [t.returnedV(PLAIN[0]), PLAIN[1]]);
        expected.set(encode(cut), offset);
        assert.deepEqual(memory, expected);
        memory.fill(0xa5);
        await handle.close();
      }
    },
  },
  {
    name: 'a BOLTED_ONLY pass reports entries that are not bolted as invalid',
    section: '11 #10',
    async run(t) {
      const vm = await t.vm(18);
      const later = await t.laterReader(vm);
      await t.put(vm, record(1, [BOLTED, PLAIN, BOLTED]));
      const bolted = await t.open(vm, { boltedOnly: true });
      await t.expectRead(bolted, [removal(0), run(1, 1, 1, BOLTED), run(3, 1, 16_380, BOLTED)]);
      await t.expectRead(later, []);
    },
  },
  {
    name: 'a BOLTED_ONLY descriptor reports an entry that lost its bolt as removed, and takes its mark',
    section: '0 #8, 11 #11',
    async run(t) {
      const vm = await t.vm(18);
      await t.put(vm, record(1, [BOLTED, PLAIN, BOLTED]));
      const bolted = await t.laterReader(vm, { boltedOnly: true });
      const all = await t.laterReader(vm);
      await t.put(vm, record(3, [PLAIN]));
      await t.expectRead(bolted, [removal(3)]);
      await t.expectRead(all, []);
      await t.put(vm, record(2, [PLAIN]), record(3, [BOLTED]));
      await t.expectRead(bolted, [removal(2), run(3, 1, 0, BOLTED)]);
    },
  },
];
