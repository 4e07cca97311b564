import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { HtabFormatError, HtabStateError, HtabSystemError } from '../../lib/base/errors.js';
import { createWriteStream } from '../../lib/io/write-stream.js';
import { FaultScript } from '../../lib/testing/faults.js';
import { EmulatedVm } from '../../lib/vm/emulated/emulated-vm.js';
import { ModelVm } from './model-vm.js';
import { record, type Pair } from './wire-records.js';
import { PAGE_4K, PAGE_16M, failureOf, cut } from './written-chunks.js';

describe('createWriteStream refuses', () => {
  test.each<[string, Buffer]>([
    ['an entry that is not valid', record(5, [PAGE_4K, [0x10n, 0x190n]])],
    ['a reserved page-size code', record(5, [PAGE_4K, [0x15n, 0x55000n]])],
    ['a reserved segment size', record(5, [PAGE_4K, [0x8000_0000_0000_0001n, 0n]])],
    ['a record that crosses the end of the table', record(16_383, [PAGE_4K, PAGE_4K])],
    ['a record that wraps beyond 32 bits', record(0xffff_ffff, [PAGE_4K, PAGE_4K])],
    ['a record without entries', record(5, [])],
  ])('%s', async (_, bad) => {
    const vm = new ModelVm(18);
    const failure = await failureOf(createWriteStream(vm), [bad]);
    expect(failure).toBeInstanceOf(HtabFormatError);
    expect(vm.handles[0]).toMatchObject({ writes: 0, closed: true });
  });

  test('a stream that ends within a record', async () => {
    const vm = new ModelVm(18);
    const failure = await failureOf(createWriteStream(vm), [record(5, [PAGE_4K, PAGE_4K]).subarray(0, 39)]);
    expect(failure).toBeInstanceOf(HtabFormatError);
    expect([...vm.entries.keys()]).toEqual([5]);
  });
});

describe('createWriteStream where the kernel refuses', () => {
  const stream = Buffer.concat([
    record(10, [PAGE_4K]),
    record(20, [PAGE_4K, PAGE_16M, PAGE_4K], 1),
    record(30, [PAGE_4K]),
  ]);

  test('names the entry: those before it are applied, it is gone, those after it are untouched (4.2)', async () => {
    const vm = new ModelVm(18);
    for (const ptex of [21, 22, 23, 30]) vm.set(ptex);
    vm.refused.add(21);
    const writing = createWriteStream(vm);
    const failure = await failureOf(writing, [stream]);
    expect(failure).toBeInstanceOf(HtabSystemError);
    expect(failure).toMatchObject({
      errnoName: 'EIO',
      syscall: 'write',
      ptex: 21,
      recordIndex: 1,
      bytesApplied: 24,
      hint: expect.stringContaining('16M page at guest address 0x90000000') as unknown,
    });
    expect([...vm.entries.keys()].sort((a, b) => a - b)).toEqual([10, 20, 22, 23, 30]);
    expect(writing).toMatchObject({ bytesWritten: 24, recordsWritten: 1, errored: failure });
    expect(vm.handles[0]!.closed).toBe(true);
  });

  test('names the same place in the stream, however the stream was cut', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.nat(), { maxLength: 8 }),
        fc.constantFrom(20, 21, 22, 30),
        fc.boolean(),
        async (places, bad, apart) => {
          const vm = new ModelVm(18);
          vm.refused.add(bad);
          const writing = createWriteStream(vm);
          const failure = await failureOf(writing, cut(stream, places), apart);
          expect(failure).toMatchObject({ ptex: bad, recordIndex: bad === 30 ? 2 : 1 });
          const { bytesApplied } = failure as HtabSystemError;
          // A record cut by a chunk's end may be in the table in part.
          if (bad === 30) expect(bytesApplied).toBe(80);
          else expect([24, 48, 64]).toContain(bytesApplied);
          expect(writing.bytesWritten).toBe(bytesApplied);
          expect([...vm.entries.keys()]).not.toContain(bad);
          expect(vm.entries.has(20)).toBe(bad > 20);
        },
      ),
      { numRuns: 120 },
    );
  });

  test('reports a record that was not written whole by its number in the stream, and counts the bytes before it', async () => {
    const vm = new EmulatedVm();
    await vm.allocateHpt(18);
    const script = new FaultScript([{ kind: 'answer', call: 'write', nth: 4, result: 8 }]);
    const writing = createWriteStream(script.wrapVm(vm));
    // The second record comes in three parts, of an entry each: the fourth write is of its last.
    const failure = await failureOf(writing, [stream.subarray(0, 56), stream.subarray(56)]);
    expect(failure).toBeInstanceOf(HtabStateError);
    expect(failure).toMatchObject({ state: 'lost', ptex: 22, recordIndex: 1, bytesApplied: 64 });
    expect(writing).toMatchObject({ bytesWritten: 64, recordsWritten: 1, errored: failure });
  });

  test('gives another hint for a 4K page than for large ones', async () => {
    const vm = new ModelVm(18);
    vm.refused.add(10);
    const failure = await failureOf(createWriteStream(vm), [stream]);
    expect(failure).toMatchObject({
      ptex: 10,
      hint: expect.stringContaining('4K page at guest address 0x0') as unknown,
    });
  });

  test('names the end of a table smaller than the stream’s, and changes no entry', async () => {
    const vm = new ModelVm(18);
    const handle = await vm.openHtab({ access: 'write' });
    const failure = await failureOf(createWriteStream(handle), [
      record(16_380, new Array<Pair>(10).fill(PAGE_4K)),
    ]);
    expect(failure).toMatchObject({
      errnoName: 'EINVAL',
      ptex: 16_384,
      recordIndex: 0,
      bytesApplied: 0,
      hint: 'the table ends before ptex 16384',
    });
    expect(vm.entries.size).toBe(0);
  });

  test('names the end of a smaller table for entries to be removed too', async () => {
    const vm = new ModelVm(18);
    vm.set(16_383);
    const handle = await vm.openHtab({ access: 'write' });
    const failure = await failureOf(createWriteStream(handle), [record(16_383, [], 3)]);
    expect(failure).toMatchObject({
      errnoName: 'EINVAL',
      ptex: 16_384,
      hint: 'the table ends before ptex 16384',
    });
    expect([...vm.entries.keys()]).toEqual([16_383]);
  });

  test('names a VM without a table', async () => {
    const vm = new ModelVm(undefined);
    const failure = await failureOf(createWriteStream(vm), [stream]);
    expect(failure).toMatchObject({
      errnoName: 'EINVAL',
      ptex: 10,
      hint: expect.stringContaining('the VM has none') as unknown,
    });
  });

  test('names a running vcpu, and writes nothing again (4.1)', async () => {
    const vm = new ModelVm(18);
    vm.running = true;
    const failure = await failureOf(createWriteStream(vm), [stream]);
    expect(failure).toMatchObject({
      errnoName: 'EBUSY',
      ptex: 10,
      hint: expect.stringContaining('vcpu') as unknown,
    });
    expect(vm.handles[0]!.jobs).toBe(1);
  });

  test('fails also where the refusal does not repeat, and removes no entry', async () => {
    const vm = new ModelVm(18);
    vm.set(23);
    vm.forgiving = true;
    vm.refused.add(22);
    const failure = await failureOf(createWriteStream(vm), [stream]);
    expect(failure).toMatchObject({
      errnoName: 'EIO',
      ptex: 20,
      hint: expect.stringContaining('intermittent') as unknown,
    });
    expect(vm.entries.has(23)).toBe(true);
  });

  test('fails before more is written where a table of another order replaces the first', async () => {
    const vm = new ModelVm(18);
    const writing = createWriteStream(vm);
    await new Promise((done) => writing.write(record(10, [PAGE_4K]), done));
    await vm.allocateHpt(19);
    const failure = await failureOf(writing, [record(30, [PAGE_4K])]);
    expect(failure).toBeInstanceOf(HtabStateError);
    expect(failure).toMatchObject({ state: 'order-changed' });
    expect(vm.entries.size).toBe(0);
  });
});
