import { once } from 'node:events';
import type { Writable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { HtabFormatError, HtabStateError, HtabSystemError } from '../../lib/base/errors.js';
import { createReadStream } from '../../lib/io/read-stream.js';
import { createWriteStream } from '../../lib/io/write-stream.js';
import { FaultScript } from '../../lib/testing/faults.js';
import type { HtabHandle } from '../../lib/vm/contract.js';
import { EmulatedVm } from '../../lib/vm/emulated/emulated-vm.js';
import { ModelVm, gate, record, settle, type Pair } from './model-vm.js';

const PAGE_4K: Pair = [0x11n, 0x190n];
const PAGE_16M: Pair = [0x15n, 0x9000_0190n];

/**
 * Writes the chunks and ends the stream; rejects with its error.
 *
 * @param apart write each chunk when the one before it is written, not in one go
 */
async function writeAll(stream: Writable, chunks: readonly Uint8Array[], apart = false): Promise<void> {
  const done = new Promise<void>((resolve, reject) => {
    stream.once('error', reject);
    stream.once('close', resolve);
  });
  for (const chunk of chunks) {
    const written = new Promise((resolve) => stream.write(chunk, resolve));
    if (apart) await Promise.race([written, done]);
  }
  stream.end();
  await done;
}

async function failureOf(stream: Writable, chunks: readonly Uint8Array[], apart = false): Promise<unknown> {
  return writeAll(stream, chunks, apart).then(
    () => undefined,
    (error: unknown) => error,
  );
}

/** Cuts bytes at the given places. */
function cut(bytes: Uint8Array, places: readonly number[]): Uint8Array[] {
  const ends = [...places.map((place) => place % bytes.length).sort((a, b) => a - b), bytes.length];
  return ends.map((end, k) => bytes.subarray(k === 0 ? 0 : ends[k - 1], end));
}

describe('createWriteStream', () => {
  test('carries a table over, and closes both descriptors', async () => {
    const source = new ModelVm(18);
    const target = new ModelVm(18);
    for (let ptex = 0; ptex < 16_384; ptex += 1 + (ptex % 7)) source.set(ptex, [0x11n, BigInt(ptex) << 12n]);
    target.set(1);
    target.set(16_383);
    const stream = createWriteStream(target);
    await pipeline(createReadStream(source, { bufferBytes: 4096 }), stream);
    expect([...target.entries].sort(([a], [b]) => a - b)).toEqual(
      [...source.entries].sort(([a], [b]) => a - b),
    );
    expect(target.handles).toMatchObject([{ access: 'write', closed: true }]);
  });

  test('writes one record per write(2), many in one job (0, trap 1)', async () => {
    const vm = new ModelVm(18);
    const chunks = Array.from({ length: 1000 }, (_, k) => record(k * 2, [PAGE_4K], 1));
    const stream = createWriteStream(vm);
    await writeAll(stream, chunks);
    expect(vm.handles[0]!.writes).toBe(1000);
    expect(vm.handles[0]!.jobs).toBeLessThanOrEqual(3);
    expect(stream).toMatchObject({ bytesWritten: 24_000, recordsWritten: 1000 });
    expect(vm.entries.size).toBe(1000);
  });

  test('takes the bytes in any chunks', async () => {
    const bytes = Buffer.concat([
      record(3, [PAGE_4K, PAGE_16M, PAGE_4K], 2),
      record(100, [], 7),
      record(200, [PAGE_16M]),
      record(300, [PAGE_4K, PAGE_4K, PAGE_4K, PAGE_4K, PAGE_16M]),
    ]);
    const whole = new ModelVm(18);
    await writeAll(createWriteStream(whole), [bytes]);
    expect(whole.entries.size).toBe(9);
    await fc.assert(
      fc.asyncProperty(fc.array(fc.nat(), { maxLength: 12 }), fc.boolean(), async (places, apart) => {
        const vm = new ModelVm(18);
        const stream = createWriteStream(vm);
        await writeAll(stream, cut(bytes, places), apart);
        expect(vm.entries).toEqual(whole.entries);
        expect(stream).toMatchObject({ bytesWritten: bytes.length, recordsWritten: 4 });
      }),
      { numRuns: 60 },
    );
  });

  test('takes single bytes', async () => {
    const vm = new ModelVm(18);
    const bytes = record(3, [PAGE_4K, PAGE_16M], 2);
    await writeAll(createWriteStream(vm), cut(bytes, [...bytes.keys()]));
    expect([...vm.entries]).toEqual([
      [3, PAGE_4K],
      [4, PAGE_16M],
    ]);
  });

  test('writes the longest record, 65,535 entries, in one write(2) (4.2)', async () => {
    const vm = new ModelVm(20);
    const stream = createWriteStream(vm);
    const longest = record(1, new Array<Pair>(65_535).fill(PAGE_4K));
    await writeAll(stream, [Buffer.concat([longest, record(0, [PAGE_16M])])]);
    expect(vm.entries.size).toBe(65_536);
    expect(vm.handles[0]).toMatchObject({ writes: 2, jobs: 2 });
    expect(stream.bytesWritten).toBe(8 + 16 * 65_535 + 24);
  });

  test('gives the kernel its own header order, whatever the stream’s', async () => {
    const vm = new ModelVm(18);
    const bytes = record(0, [PAGE_4K], 1);
    bytes.writeUInt32BE(7, 0);
    bytes.writeUInt16BE(1, 4);
    bytes.writeUInt16BE(1, 6);
    vm.set(8);
    await writeAll(createWriteStream(vm, { headerByteOrder: 'BE' }), [bytes]);
    expect([...vm.entries]).toEqual([[7, PAGE_4K]]);
  });
});

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

describe('arguments of createWriteStream', () => {
  test.each([[{}], [undefined], [null], ['/dev/kvm'], [3]])('throw a TypeError: %j', (wrong) => {
    expect(() => createWriteStream(wrong as HtabHandle)).toThrow(
      expect.objectContaining({
        name: 'TypeError',
        code: 'ERR_INVALID_ARG_TYPE',
        message: expect.stringContaining(
          'The "target" argument must be an HtabVm or an HtabHandle',
        ) as string,
      }),
    );
  });

  test('throw where the handle is open for reading', async () => {
    const handle = await new ModelVm(18).openHtab();
    expect(() => createWriteStream(handle)).toThrow(TypeError);
  });

  test('throw where the order is out of range, or not the VM’s', () => {
    expect(() => createWriteStream(new ModelVm(18), { order: 19 })).toThrow(RangeError);
    expect(() => createWriteStream(new ModelVm(undefined), { order: 37 })).toThrow(RangeError);
    expect(() => createWriteStream(new ModelVm(37))).toThrow('above order 36');
  });

  test('fail the stream where the descriptor cannot be opened', async () => {
    const vm = new ModelVm(18);
    vm.openFailure = new HtabSystemError('KVM_PPC_GET_HTAB_FD', 'EMFILE', { operation: 'open' });
    expect(await failureOf(createWriteStream(vm), [])).toBe(vm.openFailure);
  });
});

describe('createWriteStream ended early', () => {
  test('waits for the write in flight before destroy closes the descriptor', async () => {
    const vm = new ModelVm(18);
    const held = gate();
    vm.gate = held.promise;
    const writing = createWriteStream(vm);
    writing.write(record(10, [PAGE_4K]));
    await settle();
    writing.destroy();
    await settle();
    expect(writing.closed).toBe(false);
    expect(vm.handles[0]).toMatchObject({ inFlight: 1, closed: false });
    held.open();
    await once(writing, 'close');
    expect(vm.handles[0]).toMatchObject({ inFlight: 0, closed: true });
  });

  test('ends with the signal’s own reason after the write in flight', async () => {
    const vm = new ModelVm(18);
    const held = gate();
    vm.gate = held.promise;
    const controller = new AbortController();
    const writing = createWriteStream(vm, { signal: controller.signal });
    const failure = failureOf(writing, [record(10, [PAGE_4K])]);
    await settle();
    const reason = new Error('the operator');
    controller.abort(reason);
    held.open();
    expect(await failure).toBe(reason);
    expect(vm.handles[0]).toMatchObject({ inFlight: 0, closed: true });
  });

  test.each([null, 0, '', 'enough'])(
    'an abort for %j, which is no Error, ends it with one',
    async (reason) => {
      const writing = createWriteStream(new ModelVm(18), { signal: AbortSignal.abort(reason) });
      const failure = await failureOf(writing, []);
      expect(failure).toBeInstanceOf(DOMException);
      expect(failure).toMatchObject({ name: 'AbortError', cause: reason });
    },
  );

  test.each([0, 1, 2, 3, 4, 5, 6, 8])('leaves nothing open when destroyed after %i turns', async (turns) => {
    const vm = new ModelVm(18);
    vm.refused.add(12);
    const writing = createWriteStream(vm);
    writing.on('error', () => undefined);
    for (let ptex = 10; ptex < 14; ptex++) writing.write(record(ptex, [PAGE_4K]));
    for (let turn = 0; turn < turns; turn++) await new Promise(setImmediate);
    writing.destroy();
    if (!writing.closed) await once(writing, 'close');
    expect(vm.handles.every((handle) => handle.closed && handle.inFlight === 0)).toBe(true);
  });
});
