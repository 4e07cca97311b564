import { once } from 'node:events';
import type { Readable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import { pipeline } from 'node:stream/promises';
import { describe, expect, test } from 'vitest';
import { HtabSystemError } from '../../lib/base/errors.js';
import { HptReader } from '../../lib/io/reader.js';
import { createReadStream } from '../../lib/io/read-stream.js';
import type { HtabHandle } from '../../lib/vm/contract.js';
import { ModelVm } from './model-vm.js';
import { gate, settle } from './gate.js';
import { headers } from './wire-records.js';

function tenEntries(): ModelVm {
  const vm = new ModelVm(18);
  for (let ptex = 100; ptex < 110; ptex++) vm.set(ptex);
  return vm;
}

async function failureOf(stream: Readable): Promise<unknown> {
  const closed = new Promise((resolve) => stream.once('close', resolve));
  let failure: unknown;
  stream.once('error', (error) => (failure = error));
  await closed;
  return failure;
}

describe('createReadStream', () => {
  test('gives one pass by default, and closes what it opened', async () => {
    const vm = tenEntries();
    const bytes = await buffer(createReadStream(vm, { bufferBytes: 41 }));
    expect(headers(bytes)).toEqual([
      [0, 0, 100],
      [100, 1, 0],
      [101, 2, 0],
      [103, 2, 0],
      [105, 2, 0],
      [107, 2, 0],
      [109, 1, 16274],
    ]);
    expect(vm.handles).toMatchObject([{ closed: true }]);
    await (await HptReader.open(vm)).close();
  });

  test('gives pass upon pass until nothing has changed', async () => {
    const vm = tenEntries();
    vm.onRead = (call) => {
      if (call < 3) vm.set(call);
    };
    const bytes = await buffer(createReadStream(vm, { until: 'quiescent', startIndex: 100 }));
    expect(headers(bytes)).toEqual([
      [100, 10, 16274],
      [0, 2, 0],
      [2, 1, 0],
    ]);
  });

  test('uses three buffers with recycle, and a chunk keeps its bytes until the next one is asked for', async () => {
    const vm = tenEntries();
    const stream = createReadStream(vm, { bufferBytes: 41, startIndex: 100, recycle: true });
    const seen: unknown[] = [];
    for await (const chunk of stream as AsyncIterable<Uint8Array>) {
      const before = headers(chunk);
      await settle();
      expect(headers(chunk)).toEqual(before);
      seen.push(...before);
    }
    expect(seen).toEqual([
      [100, 2, 0],
      [102, 2, 0],
      [104, 2, 0],
      [106, 2, 0],
      [108, 2, 16274],
    ]);
    expect(vm.handles[0]!.buffers.size).toBe(3);
  });

  test('takes over a handle it is given', async () => {
    const vm = tenEntries();
    const bytes = await buffer(createReadStream(await vm.openHtab({ startIndex: 100 }), { order: 18 }));
    expect(headers(bytes)).toEqual([[100, 10, 16274]]);
    expect(vm.handles).toMatchObject([{ closed: true, reads: 1 }]);
  });

  test('gives chunks that the caller may keep', async () => {
    const chunks: Buffer[] = [];
    for await (const chunk of createReadStream(tenEntries(), { bufferBytes: 41, startIndex: 100 })) {
      chunks.push(chunk as Buffer);
    }
    expect(chunks.map((chunk) => headers(chunk)[0]![0])).toEqual([100, 102, 104, 106, 108]);
  });

  test('gives a slow loop the chunks as they were read', async () => {
    const sizes: number[] = [];
    for await (const chunk of createReadStream(tenEntries(), { bufferBytes: 41, startIndex: 100 })) {
      await settle();
      sizes.push((chunk as Buffer).length);
    }
    expect(sizes).toEqual([40, 40, 40, 40, 40]);
  });

  test('reads no further than one chunk ahead of its consumer', async () => {
    const vm = tenEntries();
    const stream = createReadStream(vm, { bufferBytes: 25, startIndex: 100 });
    stream.read(0);
    await settle();
    await settle();
    expect(vm.handles[0]!.reads).toBeLessThanOrEqual(3);
    stream.destroy();
    await once(stream, 'close');
  });

  test('emits the error of a failed read, and closes the descriptor', async () => {
    const vm = tenEntries();
    vm.onRead = () => {
      throw new HtabSystemError('read', 'EFAULT', { operation: 'read HPT records' });
    };
    await expect(buffer(createReadStream(vm))).rejects.toMatchObject({ state: 'lost' });
    expect(vm.handles[0]!.closed).toBe(true);
  });

  test('emits the error of a descriptor that cannot be opened', async () => {
    const vm = tenEntries();
    vm.openFailure = new HtabSystemError('KVM_PPC_GET_HTAB_FD', 'EMFILE', { operation: 'open' });
    await expect(buffer(createReadStream(vm))).rejects.toBe(vm.openFailure);
  });

  test.each([[{}], [undefined], [null], ['/dev/kvm'], [3]])('throws a TypeError for %j', (wrong) => {
    expect(() => createReadStream(wrong as HtabHandle)).toThrow(
      expect.objectContaining({
        name: 'TypeError',
        code: 'ERR_INVALID_ARG_TYPE',
        message: expect.stringContaining(
          'The "source" argument must be an HtabVm or an HtabHandle',
        ) as string,
      }),
    );
  });

  test('throws for invalid arguments at once', async () => {
    const handle = await new ModelVm(18).openHtab({ access: 'write' });
    expect(() => createReadStream(handle)).toThrow(TypeError);
    expect(() => createReadStream(new ModelVm(18), { bufferBytes: 24 })).toThrow(RangeError);
    await settle();
  });

  test('waits for the read in flight before destroy closes the descriptor', async () => {
    const vm = tenEntries();
    const held = gate();
    vm.gate = held.promise;
    const stream = createReadStream(vm);
    stream.resume();
    await settle();
    const reason = new Error('enough');
    stream.destroy(reason);
    const failure = failureOf(stream);
    await settle();
    expect(stream.closed).toBe(false);
    expect(vm.handles[0]).toMatchObject({ inFlight: 1, closed: false });
    held.open();
    expect(await failure).toBe(reason);
    expect(vm.handles[0]).toMatchObject({ inFlight: 0, closed: true });
  });

  test.each([0, 1, 2, 3, 4, 5, 6, 8, 10, 20])(
    'leaves nothing open when destroyed after %i turns',
    async (turns) => {
      const vm = tenEntries();
      const stream = createReadStream(vm, { bufferBytes: 25 });
      stream.resume();
      for (let turn = 0; turn < turns; turn++) await new Promise(setImmediate);
      stream.destroy();
      if (!stream.closed) await once(stream, 'close');
      expect(vm.handles.every((handle) => handle.closed)).toBe(true);
      await (await HptReader.open(vm)).close();
    },
  );

  test('ends with the signal’s own reason after the read in flight', async () => {
    const vm = tenEntries();
    const held = gate();
    vm.gate = held.promise;
    const controller = new AbortController();
    const stream = createReadStream(vm, { signal: controller.signal });
    const failure = failureOf(stream);
    stream.resume();
    await settle();
    const reason = new Error('the operator');
    controller.abort(reason);
    held.open();
    expect(await failure).toBe(reason);
    expect(vm.handles[0]).toMatchObject({ inFlight: 0, closed: true });
  });

  test('reads no byte with an aborted signal', async () => {
    const vm = tenEntries();
    const reason = new Error('too late');
    expect(await failureOf(createReadStream(vm, { signal: AbortSignal.abort(reason) }))).toBe(reason);
    expect(vm.handles.every((handle) => handle.closed && handle.reads === 0)).toBe(true);
  });

  test('emits an error for an abort without a reason', async () => {
    const failure = await failureOf(createReadStream(tenEntries(), { signal: AbortSignal.abort(null) }));
    expect(failure).toMatchObject({ name: 'AbortError', cause: null });
  });

  test('throws for an unknown end', () => {
    expect(() => createReadStream(tenEntries(), { until: 'never' as 'pass' })).toThrow(
      expect.objectContaining({ name: 'TypeError', code: 'ERR_INVALID_ARG_VALUE' }),
    );
  });

  test('closes the descriptor when the consumer of a pipeline fails', async () => {
    const vm = tenEntries();
    const failure = new Error('disk full');
    const moving = pipeline(
      createReadStream(vm, { bufferBytes: 25 }),
      async (source: AsyncIterable<Buffer>) => {
        for await (const _ of source) throw failure;
      },
    );
    await expect(moving).rejects.toBe(failure);
    await settle();
    expect(vm.handles[0]!.closed).toBe(true);
  });
});
