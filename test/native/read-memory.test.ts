import { once } from 'node:events';
import { openSync, readFileSync, writeFileSync, writeSync } from 'node:fs';
import { constants as os } from 'node:os';
import path from 'node:path';
import { setImmediate } from 'node:timers/promises';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { MessageChannel, Worker } from 'node:worker_threads';
import { describe, expect, test } from 'vitest';
import { HptReader } from '../../lib/io/reader.js';
import { KvmHandle } from '../../lib/vm/kvm/kvm-handle.js';
import { collectGarbage } from './garbage.js';
import { addonFile, addonIfBuilt, openFifo, scratchFolder } from './support.js';

const built = addonIfBuilt();
const { EFAULT } = os.errno;

// Node 20 needs this flag for it, and heeds the flag in new contexts only.
setFlagsFromString('--harmony-rab-gsab-transfer');
const transfer = runInNewContext(
  'ArrayBuffer.prototype.transfer.call.bind(ArrayBuffer.prototype.transfer)',
) as (memory: ArrayBufferLike, length?: number) => ArrayBuffer;

/** Bytes of this process that are in memory. */
function residentBytes(): number {
  return Number(/^VmRSS:\s*(\d+) kB$/m.exec(readFileSync('/proc/self/status', 'utf8'))?.[1]) * 1024;
}

/** Node 20 hands a copy over, later releases refuse. */
function passOn(hand: () => unknown): void {
  try {
    hand();
  } catch (error) {
    expect((error as Error).name).toBe('DataCloneError');
  }
}

// With an addon built for AddressSanitizer (npm run test:sanitize), a read into freed memory ends the process.
describe.skipIf(built === undefined)('memory of the addon', () => {
  const addon = built!;
  const folder = scratchFolder();
  const allocate = (bytes: number): Uint8Array => addon.allocate(bytes)!;
  const open = async (file: string): Promise<KvmHandle> =>
    new KvmHandle(addon, await addon.adopt(openSync(file, 'r'), false), 'read');

  test('is zeros, and a read fills it from the offset of the array', async () => {
    const file = path.join(folder, 'filled');
    writeFileSync(file, Uint8Array.of(1, 2, 3, 4));
    await using handle = await open(file);
    const memory = allocate(8);
    expect([...memory]).toEqual([0, 0, 0, 0, 0, 0, 0, 0]);
    expect(await handle.read(memory.subarray(2, 5))).toBe(3);
    expect([...memory]).toEqual([0, 0, 1, 2, 3, 0, 0, 0]);
  });

  test('has what was read before JavaScript hears of it: there is no copy', async () => {
    using fifo = await openFifo(addon, folder);
    const memory = allocate(64);
    const read = addon.read(fifo.descriptor, memory);
    writeSync(fifo.fd, Uint8Array.of(7));
    // No turn of the event loop passes here, in which a copy could be made.
    for (let looks = 0; looks < 1e9 && Atomics.load(memory, 0) === 0; looks++);
    expect(memory[0]).toBe(7);
    expect(await read).toBe(1);
    await fifo.descriptor.close();
  });

  test('cannot be asked for with a length that is none', () => {
    for (const length of [-1, 1.5, NaN, 2 ** 32, '8' as unknown as number]) {
      expect(() => addon.allocate(length)).toThrow(TypeError);
    }
  });

  /** What a script can do to memory that a read has been given. */
  const losses: [string, (memory: Uint8Array) => unknown][] = [
    ['transfer()', (memory) => transfer(memory.buffer)],
    ['transfer() of no byte, which frees the rest', (memory) => transfer(memory.buffer, 0)],
    ['transfer() to another length', (memory) => transfer(memory.buffer, 1 << 21)],
    [
      'structuredClone',
      (memory) => {
        passOn(() => structuredClone(memory, { transfer: [memory.buffer as ArrayBuffer] }));
      },
    ],
    [
      'postMessage',
      (memory) => {
        const { port1 } = new MessageChannel();
        passOn(() => {
          port1.postMessage(memory, [memory.buffer as ArrayBuffer]);
        });
        port1.close();
      },
    ],
  ];

  test.each(losses)('stays while a read fills it, whatever %s has done', async (_how, lose) => {
    using fifo = await openFifo(addon, folder);
    const memory = allocate(1 << 20);
    const read = addon.read(fifo.descriptor, memory);
    lose(memory);
    // What transfer() gave is garbage at once.
    await collectGarbage(() => false);
    writeSync(fifo.fd, Uint8Array.of(1, 2, 3));
    if (memory.length === 0) await expect(read).rejects.toMatchObject({ errno: EFAULT, syscall: 'read' });
    else expect([await read, ...memory.subarray(0, 3)]).toEqual([3, 1, 2, 3]);
    await fifo.descriptor.close();
  });

  test('is not resized', () => {
    expect(allocate(64).buffer).not.toHaveProperty('resizable', true);
    expect(() => {
      (allocate(64).buffer as ArrayBuffer & { resize(length: number): void }).resize(0);
    }).toThrow(TypeError);
  });

  test('stays while a read fills it, also if no caller awaits the read', async () => {
    using fifo = await openFifo(addon, folder);
    let isCollected = false;
    const registry = new FinalizationRegistry(() => (isCollected = true));
    (() => {
      const memory = allocate(1 << 20);
      registry.register(memory, undefined);
      void addon.read(fifo.descriptor, memory);
    })();
    await collectGarbage(() => isCollected);
    expect(isCollected).toBe(false);
    writeSync(fifo.fd, Uint8Array.of(1));
    await fifo.descriptor.close();
    await collectGarbage(() => isCollected);
    expect(isCollected).toBe(true);
  });

  test('stays while a read fills it when its thread is terminated', async () => {
    using fifo = await openFifo(addon, folder);
    const worker = new Worker(
      `const addon = require(${JSON.stringify(addonFile())});
       const { parentPort } = require('node:worker_threads');
       (async () => {
         const fifo = await addon.adopt(require('node:fs').openSync(${JSON.stringify(fifo.file)}, 'r+'), false);
         void addon.read(fifo, addon.allocate(1 << 20));
         parentPort.postMessage('reads');
         setInterval(() => {}, 1000);
       })();`,
      { eval: true, trackUnmanagedFds: false },
    );
    await once(worker, 'message');
    const ended = worker.terminate();
    for (let turn = 0; turn < 100; turn++) await setImmediate();
    writeSync(fifo.fd, Uint8Array.of(1));
    await ended;
    await fifo.descriptor.close();
  });

  const BLOCK = 1 << 26;

  test('is given back once JavaScript has dropped it', async () => {
    const before = residentBytes();
    for (let round = 0; round < 16; round++) {
      allocate(BLOCK).fill(1);
      await collectGarbage(() => residentBytes() < before + BLOCK);
    }
    expect(residentBytes() - before).toBeLessThan(4 * BLOCK);
  });

  test('is given back when its thread ends', async () => {
    const before = residentBytes();
    for (let round = 0; round < 8; round++) {
      const worker = new Worker(
        `globalThis.kept = require(${JSON.stringify(addonFile())}).allocate(${BLOCK}).fill(1)`,
        { eval: true },
      );
      await once(worker, 'exit');
    }
    expect(residentBytes() - before).toBeLessThan(3 * BLOCK);
  });

  test('is what a reader recycles; chunks to keep are of ordinary memory, which can be transferred', async () => {
    const file = path.join(folder, 'table');
    const record = new Uint8Array(8 + 3 * 16);
    new DataView(record.buffer).setUint16(4, 3, true);
    writeFileSync(file, record);
    for (const recycle of [true, false]) {
      const given: Uint8Array[] = [];
      const handle = await open(file);
      await using reader = new HptReader(
        Object.assign(handle, {
          readBuffer: (bytes: number) => {
            given.push(allocate(bytes));
            return given.at(-1)!;
          },
        }),
        { order: 18, bufferBytes: 64, recycle },
      );
      for await (const chunk of reader.pass()) {
        expect(given.some(({ buffer }) => buffer === chunk.buffer)).toBe(recycle);
        if (!recycle) structuredClone(chunk, { transfer: [chunk.buffer as ArrayBuffer] });
        expect(chunk.length).toBe(recycle ? record.length : 0);
      }
    }
  });
});
