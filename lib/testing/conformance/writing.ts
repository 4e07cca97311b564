import assert from 'node:assert/strict';
import type { HtabHandle, HtabVm } from '../../vm/contract.js';
import { rejectionOf, type ConformanceCase, type ConformanceContext } from './context.js';
import { BOLTED, encode, PLAIN, record, removal, run, type Entry, type StreamRecord } from './stream.js';

/** Valid, but of a segment size that H_ENTER refuses. */
export const BAD_SEGMENT: Entry = [0x8000_0000_0000_0001n, 0x190n];
const NOT_VALID: Entry = [0x10n, 0x190n];
const BAD_PAGE_SIZE: Entry = [0x5n, 0x55190n];

interface Setup {
  readonly vm: HtabVm;
  readonly writer: HtabHandle;
  /** A read descriptor past its first pass. */
  readonly later: HtabHandle;
}

export async function setup(
  t: ConformanceContext,
  order: number,
  ...present: readonly StreamRecord[]
): Promise<Setup> {
  const vm = await t.vm(order);
  await t.put(vm, ...present);
  return { vm, writer: await t.open(vm, { access: 'write' }), later: await t.laterReader(vm) };
}

function concat(...parts: readonly Uint8Array[]): Uint8Array {
  return new Uint8Array(Buffer.concat(parts));
}

/** The second of three entries is refused before anything happens to it. */
function einvalCase(name: string, refused: Entry): ConformanceCase {
  return {
    name,
    section: '4.2',
    async run(t) {
      const { vm, writer, later } = await setup(t, 18, run(8001, 2, 0, BOLTED));
      const bytes = encode(record(8000, [PLAIN, refused, PLAIN]));
      await t.expectErrno(writer.write(bytes), 'EINVAL', 'write');
      await t.expectRead(later, [run(8000, 1)]);
      await t.expectTable(vm, removal(0, 8000), record(8000, [PLAIN, BOLTED, BOLTED], 8381));
    },
  };
}

/** One write(2): the record loop with its checks, partial effects and quirks (kernel-abi.md 4.1 to 4.3). */
export const writingCases: readonly ConformanceCase[] = [
  {
    name: 'a write of one record returns its length',
    section: '4.2',
    async run(t) {
      const { writer, later } = await setup(t, 18, run(66, 4));
      assert.equal(await writer.write(encode(run(64, 3, 5))), 56);
      await t.expectRead(later, [run(64, 3, 3)]);
    },
  },
  {
    name: 'a record of 65535 entries is written whole',
    section: '4.2',
    async run(t) {
      const { writer, later } = await setup(t, 20);
      assert.equal(await writer.write(encode(run(1, 65_535))), 1_048_568);
      await t.expectRead(later, [run(1, 65_535)], 1 << 21);
    },
  },
  {
    name: 'fewer than 8 bytes are no record: 0, even without a table',
    section: '4.2',
    async run(t) {
      const vm = await t.vm();
      const writer = await t.open(vm, { access: 'write' });
      for (let count = 0; count < 8; count++) assert.equal(await writer.write(new Uint8Array(count)), 0);
      await vm.allocateHpt(18);
      for (let count = 0; count < 8; count++) assert.equal(await writer.write(new Uint8Array(count)), 0);
    },
  },
  {
    name: 'fewer than 8 bytes after a record are ignored',
    section: '11 #13',
    async run(t) {
      const { writer, later } = await setup(t, 18);
      assert.equal(await writer.write(concat(encode(run(5, 1)), new Uint8Array(7).fill(0xff))), 24);
      await t.expectRead(later, [run(5, 1)]);
    },
  },
  {
    name: 'a record more than 8 bytes longer than the buffer is left out without an error',
    section: '4.2',
    async run(t) {
      const { writer, later } = await setup(t, 18, run(0, 1));
      assert.equal(await writer.write(encode(run(5, 1)).subarray(0, 15)), 0);
      assert.equal(await writer.write(encode(run(5, 2)).subarray(0, 31)), 0);
      assert.equal(await writer.write(encode(run(5, 5)).subarray(0, 8)), 0);
      await t.expectRead(later, []);
      assert.equal(await writer.write(concat(encode(removal(0)), encode(run(5, 1)).subarray(0, 8))), 8);
      await t.expectRead(later, [removal(0)]);
    },
  },
  {
    name: 'a record up to 8 bytes longer than the buffer takes what lies behind it, and returns its own length',
    section: '0 #2, 11 #12',
    requires: ['over-read'],
    async run(t) {
      const { writer, later } = await setup(t, 18);
      for (const count of [16, 23]) {
        assert.equal(await writer.write(encode(run(5, 1)).subarray(0, count)), 24);
        await t.expectRead(later, [run(5, 1)]);
      }
      for (const count of [32, 39]) {
        assert.equal(await writer.write(encode(run(5, 2)).subarray(0, count)), 40);
        await t.expectRead(later, [run(5, 2)]);
      }
    },
  },
  {
    name: 'a record up to 8 bytes longer than the buffer is refused at the entry that is cut',
    section: '0 #2, 11 #12',
    requires: ['bounded-write'],
    async run(t) {
      const { writer, later } = await setup(t, 18);
      for (const count of [16, 23, 32, 39]) {
        const error = await rejectionOf(writer.write(encode(run(5, count < 32 ? 1 : 2)).subarray(0, count)));
        assert.equal((error as { code?: unknown }).code, 'ERR_HTAB_FORMAT');
        await t.expectRead(later, count < 32 ? [] : [run(5, 1)]);
      }
    },
  },
  {
    name: 'a range must lie in the table, counted without wrapping',
    section: '4.2',
    async run(t) {
      const { writer, later } = await setup(t, 18, run(16_383, 1));
      const outside = [removal(16_384, 0), removal(16_383, 2), removal(0xffff_fff8, 16), run(16_383, 1, 1)];
      for (const each of outside) await t.expectErrno(writer.write(encode(each)), 'EINVAL', 'write');
      await t.expectRead(later, []);
      assert.equal(await writer.write(encode(removal(16_383, 1))), 8);
      assert.equal(await writer.write(encode(removal(16_383, 0))), 8);
      await t.expectRead(later, [removal(16_383)]);
    },
  },
  {
    name: 'without a table every header is EINVAL',
    section: '4.2',
    async run(t) {
      const writer = await t.open(await t.vm(), { access: 'write' });
      await t.expectErrno(writer.write(encode(removal(0, 0))), 'EINVAL', 'write');
      await t.expectErrno(writer.write(encode(run(0, 1))), 'EINVAL', 'write');
    },
  },
  einvalCase('an entry without V is EINVAL: those before it are applied, it is not touched', NOT_VALID),
  einvalCase('a page-size code that does not exist is EINVAL and leaves the entry alone', BAD_PAGE_SIZE),
  {
    name: 'an entry that cannot be entered is EIO, and what it held is gone',
    section: '11 #15',
    async run(t) {
      const { vm, writer, later } = await setup(t, 18, run(8001, 2, 0, BOLTED));
      const bytes = encode(record(8000, [PLAIN, BAD_SEGMENT, PLAIN]));
      await t.expectErrno(writer.write(bytes), 'EIO', 'write');
      await t.expectRead(later, [run(8000, 1, 1)]);
      await t.expectTable(vm, removal(0, 8000), run(8000, 1, 1), run(8002, 1, 8381, BOLTED));
    },
  },
  {
    name: 'the page-size code is checked before the segment size',
    section: '4.2',
    async run(t) {
      const { writer, later } = await setup(t, 18, run(5, 1));
      const both: Entry = [0x8000_0000_0000_0005n, 0x55190n];
      await t.expectErrno(writer.write(encode(record(5, [both]))), 'EINVAL', 'write');
      await t.expectRead(later, []);
    },
  },
  {
    name: 'a refused record leaves its invalid run undone',
    section: '4.2',
    async run(t) {
      const { writer, later } = await setup(t, 18, run(7, 1));
      await t.expectErrno(writer.write(encode(record(5, [PLAIN, NOT_VALID], 1))), 'EINVAL', 'write');
      await t.expectRead(later, [run(5, 1)]);
    },
  },
  {
    name: 'records without entries may share a write, with one that has entries at the end',
    section: '4.3',
    async run(t) {
      const { writer, later } = await setup(t, 18, run(0, 20));
      assert.equal(await writer.write(encode(removal(0), removal(2), removal(4, 0), removal(6, 2))), 32);
      await t.expectRead(later, [removal(0), removal(2), removal(6, 2)]);
      assert.equal(await writer.write(encode(removal(10), run(100, 1))), 32);
      await t.expectRead(later, [removal(10), run(100, 1)]);
    },
  },
  {
    name: 'an error in a later record hides that the earlier ones are applied',
    section: '4.2',
    async run(t) {
      const { writer, later } = await setup(t, 18, run(0, 1));
      await t.expectErrno(writer.write(encode(removal(0), removal(16_384))), 'EINVAL', 'write');
      await t.expectRead(later, [removal(0)]);
    },
  },
  {
    name: 'a second record after one with entries is parsed from that entry’s own bytes',
    section: '0 #1, 11 #16',
    async run(t) {
      const { vm, writer, later } = await setup(t, 18, run(10, 1));
      const entry: Entry = [0x11n, 0x10n];
      assert.equal(await writer.write(encode(record(5000, [entry]), record(5001, [entry]))), 40);
      await t.expectRead(later, [removal(10), record(5000, [entry])]);
      await t.expectTable(vm, removal(0, 5000), record(5000, [entry], 11_383));
    },
  },
  {
    name: 'such a second record can fail on the first one’s bytes, after both have done harm',
    section: '4.3',
    async run(t) {
      const { writer, later } = await setup(t, 18, run(10, 1));
      const entry: Entry = [0x11n, 0x190n];
      const bytes = encode(record(5000, [entry]), record(5001, [entry]));
      await t.expectErrno(writer.write(bytes), 'EINVAL', 'write');
      await t.expectRead(later, [removal(10), record(5000, [entry])]);
    },
  },
  {
    name: 'while a vcpu runs every write is EBUSY, even one of no bytes',
    section: '4.1',
    requires: ['running'],
    async run(t) {
      const { vm, writer, later } = await setup(t, 18);
      await t.makeMmuReady(vm);
      await t.expectRead(later, [record(16_383, [[0x4001_ffff_ff00_0001n, 0x190n]])]);
      await t.guest(vm).setRunning(true);
      await t.expectErrno(writer.write(encode(run(0, 1))), 'EBUSY', 'write');
      await t.expectErrno(writer.write(new Uint8Array(0)), 'EBUSY', 'write');
      await t.expectRead(later, []);
      await t.guest(vm).setRunning(false);
      assert.equal(await writer.write(encode(run(0, 1))), 24);
    },
  },
];
