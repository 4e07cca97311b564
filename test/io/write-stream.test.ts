import { once } from 'node:events';
import { pipeline } from 'node:stream/promises';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { HtabSystemError } from '../../lib/base/errors.js';
import { createReadStream } from '../../lib/io/read-stream.js';
import { createWriteStream } from '../../lib/io/write-stream.js';
import type { HtabHandle } from '../../lib/vm/contract.js';
import { ModelVm } from './model-vm.js';
import { gate, settle } from './gate.js';
import { record, type Pair } from './wire-records.js';
import { PAGE_4K, PAGE_16M, writeAll, failureOf, cut } from './written-chunks.js';

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
