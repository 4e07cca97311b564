import { describe, expect, test } from 'vitest';
import { HtabFormatError, HtabStateError, HtabSystemError } from '../../../lib/errors.js';
import { HptReader } from '../../../lib/io/reader.js';
import type { HtabHandle, HtabVm } from '../../../lib/vm/contract.js';
import { ModelVm, gate, headers, settle } from './model.js';

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

describe('a pass', () => {
  test('the first gives the whole table, later ones what has changed since', async () => {
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

  test('a read that leaves more than 24 bytes of room has wrapped, and ends it without another read (2.4)', async () => {
    const vm = tenEntries();
    await using reader = await HptReader.open(vm, { bufferBytes: 201, startIndex: 100 });
    expect(await readPass(reader)).toEqual([[[100, 10, 16274]]]);
    expect(vm.handles[0]!.reads).toBe(1);
  });

  test('a read that fills the buffer and comes to the last entry ends it without another read (2.4)', async () => {
    const vm = tenEntries();
    await using reader = await HptReader.open(vm, { bufferBytes: 169, startIndex: 100 });
    expect(await readPass(reader)).toEqual([[[100, 10, 16274]]]);
    expect(vm.handles[0]!.reads).toBe(1);
  });

  test('a read that leaves exactly 24 bytes of room has not wrapped (2.3)', async () => {
    const vm = new ModelVm(18);
    for (const ptex of [100, 101, 200]) vm.set(ptex);
    await using reader = await HptReader.open(vm, { bufferBytes: 64, startIndex: 100 });
    expect(await readPass(reader)).toEqual([[[100, 2, 98]], [[200, 1, 16183]]]);
  });

  test('goes on over full buffers that stop short of the end', async () => {
    await using reader = await HptReader.open(tenEntries(), { bufferBytes: 89, startIndex: 100 });
    expect(await readPass(reader)).toEqual([[[100, 5, 0]], [[105, 5, 16274]]]);
  });

  test('a zero read in its middle ends it, and is not quiescence: what lies before was not looked at (2.4)', async () => {
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

  test('the smallest buffer the kernel fills, 25 bytes, is enough for a whole table', async () => {
    await using reader = await HptReader.open(tenEntries(), { bufferBytes: 25, startIndex: 107 });
    expect(await readPass(reader)).toEqual([[[107, 1, 0]], [[108, 1, 0]], [[109, 1, 16274]]]);
  });

  test('a new one begins only when asked for: changes made between passes wait for it', async () => {
    const vm = tenEntries();
    await using reader = await HptReader.open(vm);
    await readPass(reader);
    const reads = vm.handles[0]!.reads;
    await settle();
    expect(vm.handles[0]!.reads).toBe(reads);
  });
});

describe('quiescence', () => {
  test('is a zero read from index 0, and ends with the next change found', async () => {
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

  test('needs one more zero read where a start index leaves entries behind', async () => {
    await using reader = await HptReader.open(new ModelVm(18), { startIndex: 2 ** 40 });
    expect(await readPass(reader)).toEqual([]);
    expect(reader.quiescent).toBe(false);
    await readPass(reader);
    expect(reader.quiescent).toBe(true);
  });

  test('needs one more zero read on a descriptor that may stand anywhere', async () => {
    const vm = new ModelVm(18);
    const handle = await vm.openHtab({ startIndex: 2 ** 40 });
    await using reader = new HptReader(handle);
    await readPass(reader);
    expect(reader.quiescent).toBe(false);
    await readPass(reader);
    expect(reader.quiescent).toBe(true);
  });
});

describe('an unknown order', () => {
  test('a chunk at a lower index belongs to the next pass and is kept for it', async () => {
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

  test('a zero read after a full buffer ends the pass but proves nothing about the table', async () => {
    await using reader = new HptReader(await tenEntries().openHtab({ startIndex: 100 }), {
      bufferBytes: 169,
    });
    expect(await readPass(reader)).toEqual([[[100, 10, 16274]]]);
    expect(reader.quiescent).toBe(false);
    await readPass(reader);
    expect(reader.quiescent).toBe(true);
  });

  test('a pass left before the wrap was seen ends, empty, at the next call', async () => {
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

describe('reading ahead', () => {
  test('the next read is under way while a chunk is in hand, and never past the end of the pass', async () => {
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

  test('three buffers take turns, however many reads there are', async () => {
    const vm = tenEntries();
    await using reader = await HptReader.open(vm, { bufferBytes: 25, startIndex: 100 });
    for (let pass = 0; pass < 20; pass++) {
      for await (const _ of reader.pass());
      for (let ptex = 100; ptex < 110; ptex++) vm.set(ptex);
    }
    expect(vm.handles[0]!.reads).toBeGreaterThan(100);
    expect(vm.handles[0]!.buffers.size).toBe(3);
  });

  test('a chunk keeps its bytes until the next is asked for, though the next read runs', async () => {
    const vm = tenEntries();
    await using reader = await HptReader.open(vm, { bufferBytes: 25, startIndex: 100 });
    const pass = reader.pass();
    for (let ptex = 100; ptex < 110; ptex++) {
      const chunk = (await pass.next()).value!;
      await settle();
      expect(headers(chunk)).toEqual([[ptex, 1, ptex === 109 ? 16274 : 0]]);
    }
  });

  test('with recycle: false every chunk is the caller’s own', async () => {
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

  test('with recycle: false a small chunk does not keep a whole buffer alive', async () => {
    await using reader = await HptReader.open(tenEntries(), { startIndex: 100, recycle: false });
    for await (const chunk of reader.pass()) expect(chunk.buffer.byteLength).toBe(168);
  });

  test('a buffer transferred away by the caller is replaced, not read into at no bytes', async () => {
    const vm = tenEntries();
    await using reader = await HptReader.open(vm, { bufferBytes: 25, startIndex: 100 });
    const seen: Header[][] = [];
    for await (const chunk of reader.pass()) {
      seen.push(headers(chunk));
      structuredClone(chunk, { transfer: [chunk.buffer as ArrayBuffer] });
    }
    expect(seen).toHaveLength(10);
  });

  test('a pass left early goes on at the next call, with what had been read ahead', async () => {
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

  test('a pass left at its last chunk is over', async () => {
    const vm = tenEntries();
    await using reader = await HptReader.open(vm);
    for await (const _ of reader.pass()) break;
    expect(reader.passes).toBe(1);
    expect(await readPass(reader)).toEqual([]);
    expect(reader.quiescent).toBe(true);
  });
});

describe('a reader that lost data', () => {
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

  test('an error of a read that nobody waited for comes out at the next pass', async () => {
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

describe('a table that changes under the reader', () => {
  test('another order between passes fails the pass before it reads', async () => {
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

  test('another order in mid-pass fails it before the next chunk is handed out', async () => {
    const vm = tenEntries();
    await using reader = await HptReader.open(vm, { bufferBytes: 41, startIndex: 100 });
    const pass = reader.pass();
    await pass.next();
    await vm.allocateHpt(19);
    await expect(pass.next()).rejects.toMatchObject({ state: 'order-changed' });
  });

  test('a fresh descriptor that gives nothing is one of a guest without a table, and the reader says so (2.3)', async () => {
    const vm = new ModelVm(undefined);
    await using reader = await HptReader.open(vm);
    const refusal = { code: 'ERR_HTAB_UNAVAILABLE', reason: 'no-table' };
    await expect(readPass(reader)).rejects.toMatchObject(refusal);
    // Its first pass is burnt: what the guest is given later would be missing from it.
    await vm.allocateHpt(18);
    await expect(readPass(reader)).rejects.toMatchObject(refusal);
  });

  test('a record beyond the order given shows that the order is wrong', async () => {
    const vm = new ModelVm(19);
    vm.set(20_000);
    await using reader = new HptReader(await vm.openHtab(), { order: 18 });
    await expect(readPass(reader)).rejects.toMatchObject({ state: 'order-changed' });
  });

  test('a lower index in mid-pass of a known order shows that the order is wrong', async () => {
    const vm = tenEntries();
    const handle = await vm.openHtab({ startIndex: 100 });
    await using reader = new HptReader(handle, { order: 19, bufferBytes: 169 });
    const pass = reader.pass();
    await pass.next();
    vm.set(3);
    await expect(pass.next()).rejects.toMatchObject({ state: 'order-changed' });
  });
});

describe('one reader per VM', () => {
  test('a second is refused while one is open, even while one is being opened', async () => {
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

  test('a second is let in with shared: true', async () => {
    const vm = tenEntries();
    await using first = await HptReader.open(vm);
    await using second = await HptReader.open(vm, { shared: true });
    await readPass(first);
    vm.set(105);
    expect(await readPass(second)).toHaveLength(1);
    expect(await readPass(first)).toEqual([]);
  });

  test('a reader that could not be opened does not stand in the way of the next', async () => {
    const vm = tenEntries();
    vm.openFailure = new HtabSystemError('KVM_PPC_GET_HTAB_FD', 'EMFILE', { operation: 'open' });
    await expect(HptReader.open(vm)).rejects.toBe(vm.openFailure);
    vm.openFailure = undefined;
    await using reader = await HptReader.open(vm);
    expect(reader.passes).toBe(0);
  });
});

describe('arguments', () => {
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

  test('a table above order 36 is refused by name', async () => {
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

  test('an order that is not the VM’s is refused', async () => {
    await expect(HptReader.open(new ModelVm(18), { order: 19 })).rejects.toBeInstanceOf(RangeError);
  });

  test('a write handle is refused', async () => {
    const handle = await new ModelVm(18).openHtab({ access: 'write' });
    expect(() => new HptReader(handle)).toThrow(TypeError);
  });
});

describe('abort and close', () => {
  test('an abort waits for the read in flight, rejects with the very reason and keeps what was read', async () => {
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

  test('an aborted signal starts no read', async () => {
    const vm = tenEntries();
    await using reader = await HptReader.open(vm);
    const signal = AbortSignal.abort();
    await expect(reader.pass({ signal }).next()).rejects.toBe(signal.reason);
    expect(vm.handles[0]!.reads).toBe(0);
  });

  test('two passes at once are refused, and the first is not disturbed', async () => {
    await using reader = await HptReader.open(tenEntries());
    const first = reader.pass();
    const next = first.next();
    await expect(reader.pass().next()).rejects.toMatchObject({ state: 'busy' });
    expect((await next).done).toBe(false);
    expect((await first.next()).done).toBe(true);
  });

  test('close waits for the read in flight and settles the pass that awaits it', async () => {
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

  test('a closed reader begins no pass', async () => {
    const reader = await HptReader.open(tenEntries());
    await reader.close();
    await expect(readPass(reader)).rejects.toMatchObject({ state: 'closed' });
  });

  test('a closed reader says so, also when a pass was abandoned without an end', async () => {
    const reader = await HptReader.open(tenEntries(), { bufferBytes: 41 });
    await reader.pass().next();
    await reader.close();
    await expect(readPass(reader)).rejects.toMatchObject({ state: 'closed' });
  });
});

describe('arguments taken for each other', () => {
  const wrongKind = (says: string): unknown =>
    expect.objectContaining({
      name: 'TypeError',
      code: 'ERR_INVALID_ARG_TYPE',
      message: expect.stringContaining(says) as string,
    });

  test('a reader of a VM is opened, and open() says how one of a handle is made', async () => {
    const handle = await new ModelVm(18).openHtab();
    for (const notVm of [handle, undefined, null, 18, {}]) {
      await expect(HptReader.open(notVm as HtabVm)).rejects.toEqual(wrongKind('new HptReader(handle)'));
    }
  });

  test('a reader of a handle is made, and the constructor says how one of a VM is opened', () => {
    for (const notHandle of [new ModelVm(18), undefined, null, 3, {}]) {
      expect(() => new HptReader(notHandle as HtabHandle)).toThrow(wrongKind('HptReader.open(vm)'));
    }
  });
});
