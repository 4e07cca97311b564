import { describe, expect, test } from 'vitest';
import { HtabFormatError, HtabStateError, HtabSystemError } from '../../lib/base/errors.js';
import { HptReader } from '../../lib/io/reader.js';
import type { HtabHandle, HtabVm } from '../../lib/vm/contract.js';
import { ModelVm, gate, headers, settle } from './model-vm.js';

type Header = [number, number, number];

async function readPass(reader: HptReader): Promise<Header[][]> {
  const chunks: Header[][] = [];
  for await (const chunk of reader.pass()) chunks.push(headers(chunk));
  return chunks;
}

function tenEntries(): ModelVm {
  const vm = new ModelVm(18);
  for (let ptex = 100; ptex < 110; ptex++) vm.set(ptex);
  return vm;
}

function brokenHandle(read: (buffer: Uint8Array) => number): HtabHandle {
  return {
    access: 'read',
    read: (buffer) => Promise.resolve(read(buffer)),
    write: () => Promise.reject(new Error('read handle')),
    writeRecords: () => Promise.reject(new Error('read handle')),
    close: () => Promise.resolve(),
    [Symbol.asyncDispose]: () => Promise.resolve(),
  };
}

describe('a pass of HptReader', () => {
  test('gives the whole table first, and later what has changed since', async () => {
    const vm = tenEntries();
    await using reader = await HptReader.open(vm);
    expect(await readPass(reader)).toEqual([
      [
        [0, 0, 100],
        [100, 10, 16274],
      ],
    ]);
    vm.set(105);
    vm.delete(107);
    expect(await readPass(reader)).toEqual([
      [
        [105, 1, 0],
        [107, 0, 1],
      ],
    ]);
    expect(reader.passes).toBe(2);
  });

  test('ends without another read after one that leaves more than 24 bytes of room (2.4)', async () => {
    const vm = tenEntries();
    await using reader = await HptReader.open(vm, { bufferBytes: 201, startIndex: 100 });
    expect(await readPass(reader)).toEqual([[[100, 10, 16274]]]);
    expect(vm.handles[0]!.reads).toBe(1);
  });

  test('ends without another read after one that fills the buffer and reaches the last entry (2.4)', async () => {
    const vm = tenEntries();
    await using reader = await HptReader.open(vm, { bufferBytes: 169, startIndex: 100 });
    expect(await readPass(reader)).toEqual([[[100, 10, 16274]]]);
    expect(vm.handles[0]!.reads).toBe(1);
  });

  test('goes on after a read that leaves exactly 24 bytes of room (2.3)', async () => {
    const vm = new ModelVm(18);
    for (const ptex of [100, 101, 200]) vm.set(ptex);
    await using reader = await HptReader.open(vm, { bufferBytes: 64, startIndex: 100 });
    expect(await readPass(reader)).toEqual([[[100, 2, 98]], [[200, 1, 16183]]]);
  });

  test('goes on after full buffers that end before the table does', async () => {
    await using reader = await HptReader.open(tenEntries(), { bufferBytes: 89, startIndex: 100 });
    expect(await readPass(reader)).toEqual([[[100, 5, 0]], [[105, 5, 16274]]]);
  });

  test('ends with a zero read in its middle, which does not prove quiescence (2.4)', async () => {
    const vm = tenEntries();
    await using reader = await HptReader.open(vm, { bufferBytes: 41 });
    await readPass(reader);
    vm.set(40);
    vm.set(41);
    const pass = reader.pass();
    expect(headers((await pass.next()).value!)).toEqual([[40, 2, 0]]);
    vm.set(10);
    expect((await pass.next()).done).toBe(true);
    expect(reader.quiescent).toBe(false);
    expect(await readPass(reader)).toEqual([[[10, 1, 0]]]);
    expect(await readPass(reader)).toEqual([]);
    expect(reader.quiescent).toBe(true);
  });

  test('reads a whole table with the smallest buffer that the kernel fills, 25 bytes', async () => {
    await using reader = await HptReader.open(tenEntries(), { bufferBytes: 25, startIndex: 107 });
    expect(await readPass(reader)).toEqual([[[107, 1, 0]], [[108, 1, 0]], [[109, 1, 16274]]]);
  });

  test('begins only when it is asked for: changes made between passes wait for it', async () => {
    const vm = tenEntries();
    await using reader = await HptReader.open(vm);
    await readPass(reader);
    const reads = vm.handles[0]!.reads;
    await settle();
    expect(vm.handles[0]!.reads).toBe(reads);
  });
});

describe('HptReader.quiescent', () => {
  test('is true after a zero read from index 0, until a change is found', async () => {
    const vm = tenEntries();
    await using reader = await HptReader.open(vm);
    await readPass(reader);
    expect(reader.quiescent).toBe(false);
    await readPass(reader);
    expect(reader.quiescent).toBe(true);
    vm.set(5);
    await readPass(reader);
    expect(reader.quiescent).toBe(false);
  });

  test('needs one more zero read after a start index above 0', async () => {
    await using reader = await HptReader.open(new ModelVm(18), { startIndex: 2 ** 40 });
    expect(await readPass(reader)).toEqual([]);
    expect(reader.quiescent).toBe(false);
    await readPass(reader);
    expect(reader.quiescent).toBe(true);
  });

  test('needs one more zero read on a given descriptor', async () => {
    const vm = new ModelVm(18);
    const handle = await vm.openHtab({ startIndex: 2 ** 40 });
    await using reader = new HptReader(handle);
    await readPass(reader);
    expect(reader.quiescent).toBe(false);
    await readPass(reader);
    expect(reader.quiescent).toBe(true);
  });
});

describe('HptReader without an order', () => {
  test('keeps a chunk at a lower index for the next pass', async () => {
    const vm = tenEntries();
    await using reader = new HptReader(await vm.openHtab({ startIndex: 100 }), { bufferBytes: 169 });
    const pass = reader.pass();
    expect(headers((await pass.next()).value!)).toEqual([[100, 10, 16274]]);
    expect(reader.passes).toBe(0);
    vm.set(3);
    vm.set(7);
    expect((await pass.next()).done).toBe(true);
    expect(reader.passes).toBe(1);
    expect(await readPass(reader)).toEqual([
      [
        [3, 1, 0],
        [7, 1, 0],
      ],
    ]);
  });

  test('ends a pass with a zero read after a full buffer, which does not prove quiescence', async () => {
    await using reader = new HptReader(await tenEntries().openHtab({ startIndex: 100 }), {
      bufferBytes: 169,
    });
    expect(await readPass(reader)).toEqual([[[100, 10, 16274]]]);
    expect(reader.quiescent).toBe(false);
    await readPass(reader);
    expect(reader.quiescent).toBe(true);
  });

  test('ends a pass that was left before the wrap was seen, empty, at the next call', async () => {
    const vm = tenEntries();
    await using reader = new HptReader(await vm.openHtab({ startIndex: 100 }), { bufferBytes: 169 });
    for await (const _ of reader.pass()) {
      vm.set(3);
      break;
    }
    expect(await readPass(reader)).toEqual([]);
    expect(await readPass(reader)).toEqual([[[3, 1, 0]]]);
  });
});

describe('read-ahead of HptReader', () => {
  test('reads while the caller has a chunk, and never past the end of the pass', async () => {
    const vm = tenEntries();
    await using reader = await HptReader.open(vm, { bufferBytes: 89, startIndex: 100 });
    const handle = vm.handles[0]!;
    const pass = reader.pass();
    await pass.next();
    await settle();
    expect(handle.reads).toBe(2);
    await pass.next();
    await settle();
    expect(handle.reads).toBe(2);
    expect((await pass.next()).done).toBe(true);
  });

  test('uses three buffers in turn, however many reads there are', async () => {
    const vm = tenEntries();
    await using reader = await HptReader.open(vm, { bufferBytes: 25, startIndex: 100 });
    for (let pass = 0; pass < 20; pass++) {
      for await (const _ of reader.pass());
      for (let ptex = 100; ptex < 110; ptex++) vm.set(ptex);
    }
    expect(vm.handles[0]!.reads).toBeGreaterThan(100);
    expect(vm.handles[0]!.buffers.size).toBe(3);
  });

  test('keeps a chunk’s bytes until the next is asked for, although the next read runs', async () => {
    const vm = tenEntries();
    await using reader = await HptReader.open(vm, { bufferBytes: 25, startIndex: 100 });
    const pass = reader.pass();
    for (let ptex = 100; ptex < 110; ptex++) {
      const chunk = (await pass.next()).value!;
      await settle();
      expect(headers(chunk)).toEqual([[ptex, 1, ptex === 109 ? 16274 : 0]]);
    }
  });

  test('gives every chunk away with recycle: false', async () => {
    const vm = tenEntries();
    await using reader = await HptReader.open(vm, { bufferBytes: 41, startIndex: 100, recycle: false });
    const chunks: Uint8Array[] = [];
    for await (const chunk of reader.pass()) chunks.push(chunk);
    expect(chunks.map((chunk) => headers(chunk))).toEqual([
      [[100, 2, 0]],
      [[102, 2, 0]],
      [[104, 2, 0]],
      [[106, 2, 0]],
      [[108, 2, 16274]],
    ]);
    expect(new Set(chunks.map((chunk) => chunk.buffer)).size).toBe(5);
  });

  test('copies a small chunk with recycle: false, and keeps no whole buffer alive', async () => {
    await using reader = await HptReader.open(tenEntries(), { startIndex: 100, recycle: false });
    for await (const chunk of reader.pass()) expect(chunk.buffer.byteLength).toBe(168);
  });

  test('replaces a buffer that the caller has transferred away', async () => {
    const vm = tenEntries();
    await using reader = await HptReader.open(vm, { bufferBytes: 25, startIndex: 100 });
    const seen: Header[][] = [];
    for await (const chunk of reader.pass()) {
      seen.push(headers(chunk));
      structuredClone(chunk, { transfer: [chunk.buffer as ArrayBuffer] });
    }
    expect(seen).toHaveLength(10);
  });

  test('goes on with a pass left early at the next call, with the records read ahead', async () => {
    const vm = tenEntries();
    await using reader = await HptReader.open(vm, { bufferBytes: 41, startIndex: 100 });
    for await (const chunk of reader.pass()) {
      expect(headers(chunk)).toEqual([[100, 2, 0]]);
      break;
    }
    expect(reader.passes).toBe(0);
    const rest = (await readPass(reader)).flat();
    expect(rest).toEqual([
      [102, 2, 0],
      [104, 2, 0],
      [106, 2, 0],
      [108, 2, 16274],
    ]);
    expect(reader.passes).toBe(1);
  });

  test('counts a pass left at its last chunk as complete', async () => {
    const vm = tenEntries();
    await using reader = await HptReader.open(vm);
    for await (const _ of reader.pass()) break;
    expect(reader.passes).toBe(1);
    expect(await readPass(reader)).toEqual([]);
    expect(reader.quiescent).toBe(true);
  });
});

describe('HptReader after a failed read', () => {
  function failingRead(vm: ModelVm, call: number): void {
    vm.onRead = (n) => {
      if (n === call) throw new HtabSystemError('read', 'EFAULT', { operation: 'read HPT records' });
    };
  }

  test('fails with lost and the cause, and stays so (2.4)', async () => {
    const vm = tenEntries();
    failingRead(vm, 1);
    await using reader = await HptReader.open(vm, { bufferBytes: 41, startIndex: 100 });
    const failure = { state: 'lost', cause: expect.objectContaining({ errnoName: 'EFAULT' }) as unknown };
    await expect(readPass(reader)).rejects.toMatchObject(failure);
    await expect(readPass(reader)).rejects.toMatchObject(failure);
    expect(vm.handles[0]!.reads).toBe(2);
  });

  test('reports the error of a read ahead in the next pass', async () => {
    const vm = tenEntries();
    failingRead(vm, 1);
    await using reader = await HptReader.open(vm, { bufferBytes: 41, startIndex: 100 });
    for await (const _ of reader.pass()) break;
    await settle();
    await expect(readPass(reader)).rejects.toMatchObject({ code: 'ERR_HTAB_STATE', state: 'lost' });
  });

  test.each([7, 9, 23, 25])(
    'bytes that do not end with a record, such as %i, are a loss too',
    async (length) => {
      await using reader = new HptReader(
        brokenHandle((buffer) => {
          buffer.set([0, 0, 0, 0, 1, 0, 0, 0]);
          return length;
        }),
      );
      const failure = await readPass(reader).catch((error: unknown) => error);
      expect(failure).toBeInstanceOf(HtabStateError);
      expect((failure as HtabStateError).state).toBe('lost');
      expect((failure as HtabStateError).cause).toBeInstanceOf(HtabFormatError);
    },
  );
});

describe('HptReader over a replaced table', () => {
  test('fails the next pass before it reads where the order changed between passes', async () => {
    const vm = tenEntries();
    await using reader = await HptReader.open(vm);
    await readPass(reader);
    await vm.allocateHpt(19);
    vm.set(5);
    await expect(readPass(reader)).rejects.toMatchObject({ state: 'order-changed' });
    expect(vm.handles[0]!.reads).toBe(1);
    await vm.allocateHpt(18);
    await expect(readPass(reader)).rejects.toMatchObject({ state: 'order-changed' });
  });

  test('fails a pass before its next chunk where the order changed', async () => {
    const vm = tenEntries();
    await using reader = await HptReader.open(vm, { bufferBytes: 41, startIndex: 100 });
    const pass = reader.pass();
    await pass.next();
    await vm.allocateHpt(19);
    await expect(pass.next()).rejects.toMatchObject({ state: 'order-changed' });
  });

  test('rejects with no-table where a fresh descriptor gives nothing (2.3)', async () => {
    const vm = new ModelVm(undefined);
    await using reader = await HptReader.open(vm);
    const refusal = { code: 'ERR_HTAB_UNAVAILABLE', reason: 'no-table' };
    await expect(readPass(reader)).rejects.toMatchObject(refusal);
    // Its first pass is burnt: what the guest is given later would be missing from it.
    await vm.allocateHpt(18);
    await expect(readPass(reader)).rejects.toMatchObject(refusal);
  });

  test('rejects a record beyond the given order with order-changed', async () => {
    const vm = new ModelVm(19);
    vm.set(20_000);
    await using reader = new HptReader(await vm.openHtab(), { order: 18 });
    await expect(readPass(reader)).rejects.toMatchObject({ state: 'order-changed' });
  });

  test('rejects a lower index within a pass of known order with order-changed', async () => {
    const vm = tenEntries();
    const handle = await vm.openHtab({ startIndex: 100 });
    await using reader = new HptReader(handle, { order: 19, bufferBytes: 169 });
    const pass = reader.pass();
    await pass.next();
    vm.set(3);
    await expect(pass.next()).rejects.toMatchObject({ state: 'order-changed' });
  });
});

describe('HptReader.open on one VM', () => {
  test('refuses a second reader while one is open or being opened', async () => {
    const vm = tenEntries();
    const [first, second] = await Promise.allSettled([HptReader.open(vm), HptReader.open(vm)]);
    expect(second).toMatchObject({ status: 'rejected', reason: { state: 'busy' } });
    expect(vm.handles).toHaveLength(1);
    if (first.status !== 'fulfilled') throw new Error('the first was refused');
    await first.value.close();
    await first.value.close();
    await using third = await HptReader.open(vm);
    expect(third.passes).toBe(0);
  });

  test('allows a second reader with shared: true', async () => {
    const vm = tenEntries();
    await using first = await HptReader.open(vm);
    await using second = await HptReader.open(vm, { shared: true });
    await readPass(first);
    vm.set(105);
    expect(await readPass(second)).toHaveLength(1);
    expect(await readPass(first)).toEqual([]);
  });

  test('allows the next reader after one that could not be opened', async () => {
    const vm = tenEntries();
    vm.openFailure = new HtabSystemError('KVM_PPC_GET_HTAB_FD', 'EMFILE', { operation: 'open' });
    await expect(HptReader.open(vm)).rejects.toBe(vm.openFailure);
    vm.openFailure = undefined;
    await using reader = await HptReader.open(vm);
    expect(reader.passes).toBe(0);
  });
});

describe('arguments of HptReader', () => {
  test.each([0, 24, 25.5, Number.NaN, 2 ** 30 + 1])(
    'bufferBytes %d is refused before anything is opened',
    async (bufferBytes) => {
      const vm = tenEntries();
      await expect(HptReader.open(vm, { bufferBytes })).rejects.toMatchObject({ code: 'ERR_OUT_OF_RANGE' });
      expect(vm.handles).toEqual([]);
      await using reader = await HptReader.open(vm);
      expect(() => new HptReader(vm.handles[0]!, { bufferBytes })).toThrow(RangeError);
      expect(reader.passes).toBe(0);
    },
  );

  test('refuses a table above order 36, and names the order', async () => {
    const opening = HptReader.open(new ModelVm(37));
    await expect(opening).rejects.toMatchObject({ code: 'ERR_HTAB_UNAVAILABLE', reason: 'unsupported' });
    expect(
      () =>
        new HptReader(
          brokenHandle(() => 0),
          { order: 37 },
        ),
    ).toThrow(RangeError);
  });

  test('refuses an order that is not the VM’s', async () => {
    await expect(HptReader.open(new ModelVm(18), { order: 19 })).rejects.toBeInstanceOf(RangeError);
  });

  test('refuses a write handle', async () => {
    const handle = await new ModelVm(18).openHtab({ access: 'write' });
    expect(() => new HptReader(handle)).toThrow(TypeError);
  });
});

describe('abort and close of HptReader', () => {
  test('waits for the read in flight after an abort, rejects with its reason and keeps the records', async () => {
    const vm = tenEntries();
    await using reader = await HptReader.open(vm, { startIndex: 100 });
    const held = gate();
    vm.gate = held.promise;
    const controller = new AbortController();
    const reason = { why: 'the operator' };
    const next = reader.pass({ signal: controller.signal }).next();
    await settle();
    let settled = false;
    const watched = next.catch(() => undefined).then(() => (settled = true));
    controller.abort(reason);
    await settle();
    expect(settled).toBe(false);
    held.open();
    await expect(next).rejects.toBe(reason);
    await watched;
    expect(await readPass(reader)).toEqual([[[100, 10, 16274]]]);
    expect(vm.handles[0]!.reads).toBe(1);
  });

  test('starts no read with an aborted signal', async () => {
    const vm = tenEntries();
    await using reader = await HptReader.open(vm);
    const signal = AbortSignal.abort();
    await expect(reader.pass({ signal }).next()).rejects.toBe(signal.reason);
    expect(vm.handles[0]!.reads).toBe(0);
  });

  test('refuses a second pass while one runs, and does not disturb the first', async () => {
    await using reader = await HptReader.open(tenEntries());
    const first = reader.pass();
    const next = first.next();
    await expect(reader.pass().next()).rejects.toMatchObject({ state: 'busy' });
    expect((await next).done).toBe(false);
    expect((await first.next()).done).toBe(true);
  });

  test('waits in close for the read in flight, and settles the pass that awaits it', async () => {
    const vm = tenEntries();
    const reader = await HptReader.open(vm);
    const held = gate();
    vm.gate = held.promise;
    const next = reader.pass().next();
    const outcome = next.catch((error: unknown) => error);
    await settle();
    const closing = reader.close();
    await settle();
    expect(vm.handles[0]).toMatchObject({ inFlight: 1, closed: false });
    held.open();
    await closing;
    expect(await outcome).toMatchObject({ state: 'closed' });
    expect(vm.handles[0]).toMatchObject({ inFlight: 0, closed: true });
  });

  test('begins no pass after close', async () => {
    const reader = await HptReader.open(tenEntries());
    await reader.close();
    await expect(readPass(reader)).rejects.toMatchObject({ state: 'closed' });
  });

  test('rejects with closed after close, also when a pass was abandoned', async () => {
    const reader = await HptReader.open(tenEntries(), { bufferBytes: 41 });
    await reader.pass().next();
    await reader.close();
    await expect(readPass(reader)).rejects.toMatchObject({ state: 'closed' });
  });
});

describe('HptReader given a VM for a handle, or a handle for a VM', () => {
  const wrongKind = (says: string): unknown =>
    expect.objectContaining({
      name: 'TypeError',
      code: 'ERR_INVALID_ARG_TYPE',
      message: expect.stringContaining(says) as string,
    });

  test('names new HptReader(handle) where open() gets a handle', async () => {
    const handle = await new ModelVm(18).openHtab();
    for (const notVm of [handle, undefined, null, 18, {}]) {
      await expect(HptReader.open(notVm as HtabVm)).rejects.toEqual(wrongKind('new HptReader(handle)'));
    }
  });

  test('names HptReader.open(vm) where the constructor gets a VM', () => {
    for (const notHandle of [new ModelVm(18), undefined, null, 3, {}]) {
      expect(() => new HptReader(notHandle as HtabHandle)).toThrow(wrongKind('HptReader.open(vm)'));
    }
  });
});
