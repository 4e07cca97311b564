import assert from 'node:assert/strict';
import { HtabSystemError } from '../../base/errors.js';
import { rejectionOf, type ConformanceCase } from './context.js';
import { BOLTED, encode, PLAIN, record, removal, run } from './stream.js';
import { BAD_SEGMENT, setup } from './writing.js';

/** Whole records, one write each (kernel-abi.md 4.3). */
export const recordCases: readonly ConformanceCase[] = [
  {
    name: 'writeRecords applies every record of a buffer in order',
    section: '4.3',
    async run(t) {
      const { writer, later } = await setup(t, 18, run(10, 1));
      const bytes = encode(run(5000, 1), run(5001, 1), removal(10), run(7, 2, 3), run(7, 1, 0, BOLTED));
      assert.equal(await writer.writeRecords(bytes), bytes.length);
      await t.expectRead(later, [record(7, [BOLTED, PLAIN], 0), removal(10), run(5000, 2)]);
      assert.equal(await writer.writeRecords(new Uint8Array(0)), 0);
    },
  },
  {
    name: 'a pass written back with writeRecords makes an equal table',
    section: '2.1',
    async run(t) {
      const vm = await t.vm(18);
      await t.put(vm, run(0, 1), run(2, 1, 0, BOLTED), run(100, 10), run(16_383, 1));
      const pass = await t.read(await t.open(vm));
      const copy = await t.vm(18);
      const writer = await t.open(copy, { access: 'write' });
      assert.equal(await writer.writeRecords(pass), pass.length);
      assert.deepEqual(await t.read(await t.open(copy)), pass);
    },
  },
  {
    name: 'a refused record is named, with the bytes applied before it',
    section: 'contract',
    async run(t) {
      const { vm, writer } = await setup(t, 18);
      const bytes = encode(run(0, 2), removal(9), record(20, [PLAIN, BAD_SEGMENT]), run(30, 1));
      const error = await rejectionOf(writer.writeRecords(bytes));
      assert.ok(error instanceof HtabSystemError);
      const { code, errno, errnoName, syscall, bytesApplied, recordIndex, ptex } = error;
      assert.deepEqual(
        { code, errno, errnoName, syscall, bytesApplied, recordIndex, ptex },
        {
          code: 'ERR_HTAB_SYSTEM',
          errno: 5,
          errnoName: 'EIO',
          syscall: 'write',
          bytesApplied: 48,
          recordIndex: 2,
          ptex: 20,
        },
      );
      await t.expectTable(vm, run(0, 2, 18), run(20, 1, 16_363));
    },
  },
  {
    name: 'bytes that do not end with a record’s end are refused before anything is applied',
    section: 'contract',
    async run(t) {
      const { writer, later } = await setup(t, 18);
      const bytes = encode(run(0, 1), run(5, 1));
      for (const length of [23, 25, 31, 40, 47]) {
        const error = await rejectionOf(writer.writeRecords(bytes.subarray(0, length)));
        assert.equal((error as { code?: unknown }).code, 'ERR_HTAB_FORMAT', `cut to ${length} bytes`);
      }
      await t.expectRead(later, []);
    },
  },
];
