import { spawn } from 'node:child_process';
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import {
  closeSync,
  constants,
  fstatSync,
  openSync,
  readFileSync,
  readSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { constants as os } from 'node:os';
import path from 'node:path';
import { describe, expect, test } from 'vitest';
import type { CallFailure } from '../../lib/vm/call-result.js';
import type { Addon, Descriptor } from '../../lib/vm/kvm/addon.js';
import { addonIfBuilt, isCloseOnExec, numbersOf, openFifo, scratchFolder } from './support.js';

const { EAGAIN, EBADF, EBUSY, EFAULT, ENOSPC } = os.errno;

/** @returns the array, whose memory is gone */
function transferAway(bytes: Uint8Array): Uint8Array {
  structuredClone(bytes, { transfer: [bytes.buffer as ArrayBuffer] });
  return bytes;
}

/** An ArrayBuffer of ES2024, which this TypeScript does not know. */
function resizable(length: number): ArrayBuffer & { resize(length: number): void } {
  return Reflect.construct(ArrayBuffer, [length, { maxByteLength: length }]) as ArrayBuffer & {
    resize(length: number): void;
  };
}

const built = addonIfBuilt();

describe.skipIf(built === undefined)('the addon', () => {
  const addon = built!;
  const folder = scratchFolder();
  const adopt = (file: string, flags: string): Promise<Descriptor> =>
    addon.adopt(openSync(file, flags), false);

  test('exports exactly the functions that its TypeScript type names', () => {
    const names: Record<keyof Addon, true> = {
      openKvm: true,
      getApiVersion: true,
      checkExtension: true,
      createVm: true,
      allocateHtab: true,
      getHtabFd: true,
      prepareHptResize: true,
      commitHptResize: true,
      configureV3Mmu: true,
      getSmmuInfo: true,
      allocate: true,
      read: true,
      write: true,
      writeRecords: true,
      adopt: true,
      duplicate: true,
      inspectFile: true,
      takeDescriptor: true,
      openHtabIn: true,
      connect: true,
      listen: true,
      send: true,
      receive: true,
      offer: true,
      exitNow: true,
    };
    expect(Object.keys(addon).sort()).toEqual(Object.keys(names).sort());
  });

  describe('read and write', () => {
    test('one read fills the buffer from its own offset and gives the byte count', async () => {
      const file = path.join(folder, 'read');
      writeFileSync(file, Buffer.from([1, 2, 3, 4, 5]));
      const descriptor = await adopt(file, 'r');
      const memory = new Uint8Array(8);
      expect(await addon.read(descriptor, memory.subarray(2, 5))).toBe(3);
      expect([...memory]).toEqual([0, 0, 1, 2, 3, 0, 0, 0]);
      expect(await addon.read(descriptor, memory)).toBe(2);
      expect(await addon.read(descriptor, memory)).toBe(0);
      expect(await addon.read(descriptor, new Uint8Array(0))).toBe(0);
      await descriptor.close();
    });

    test('one write passes exactly the bytes of the view', async () => {
      const file = path.join(folder, 'write');
      const descriptor = await adopt(file, 'w');
      expect(await addon.write(descriptor, Uint8Array.of(9, 8, 7, 6).subarray(1, 3))).toBe(2);
      await descriptor.close();
      expect([...readFileSync(file)]).toEqual([8, 7]);
    });

    test('a refused call rejects with its errno and its name', async () => {
      const descriptor = await adopt('/dev/full', 'w');
      await expect(addon.write(descriptor, new Uint8Array(1))).rejects.toMatchObject({
        errno: ENOSPC,
        syscall: 'write',
      });
      await expect(addon.read(descriptor, new Uint8Array(1))).rejects.toMatchObject({
        errno: EBADF,
        syscall: 'read',
      });
      await descriptor.close();
    });

    test('memory that other threads write to, or that is gone, is refused at once', async () => {
      const descriptor = await adopt('/dev/zero', 'r');
      for (const buffer of [
        new Uint8Array(new SharedArrayBuffer(8)),
        transferAway(new Uint8Array(8)),
        new Uint16Array(8) as unknown as Uint8Array,
        new DataView(new ArrayBuffer(8)) as unknown as Uint8Array,
        'bytes' as unknown as Uint8Array,
      ]) {
        expect(() => addon.read(descriptor, buffer)).toThrow(TypeError);
      }
      await descriptor.close();
    });
  });

  describe('memory that JavaScript frees during a call', () => {
    /** Ways to lose an array's memory; the array is of `length` bytes before. */
    const losses: [string, (length: number) => [buffer: Uint8Array, lose: () => void]][] = [
      [
        'is transferred',
        (length) => {
          const buffer = new Uint8Array(length);
          return [buffer, () => transferAway(buffer)];
        },
      ],
      [
        'is shrunk',
        (length) => {
          const memory = resizable(length);
          return [
            new Uint8Array(memory),
            () => {
              memory.resize(0);
            },
          ];
        },
      ],
      [
        'is shrunk, and says it cannot be',
        (length) => {
          const memory = resizable(length);
          Object.defineProperty(memory, 'resizable', { value: false });
          return [
            new Uint8Array(memory),
            () => {
              memory.resize(0);
            },
          ];
        },
      ],
    ];

    test.each(losses)('and %s takes what a read brought with it', async (_how, make) => {
      using fifo = await openFifo(addon, folder);
      const [buffer, lose] = make(64);
      const read = addon.read(fifo.descriptor, buffer);
      lose();
      writeSync(fifo.fd, Uint8Array.of(1, 2, 3));
      await expect(read).rejects.toMatchObject({ errno: EFAULT, syscall: 'read' });
      await fifo.descriptor.close();
    });

    test.each(losses)('and %s is not what is written', async (_how, make) => {
      const file = path.join(folder, 'copied');
      for (const name of ['write', 'writeRecords'] as const) {
        const descriptor = await adopt(file, 'w');
        const [bytes, lose] = make(1 << 20);
        bytes[0] = 7;
        const written = addon[name](descriptor, bytes);
        lose();
        await written;
        expect(readFileSync(file)).toHaveLength(1 << 20);
        expect(readFileSync(file)[0]).toBe(7);
        await descriptor.close();
      }
    });

    test('a property of its own that throws is not asked', async () => {
      const memory = new ArrayBuffer(8);
      Object.defineProperty(memory, 'resizable', {
        get() {
          throw new Error('asked');
        },
      });
      const descriptor = await adopt('/dev/null', 'w');
      expect(await addon.write(descriptor, new Uint8Array(memory))).toBe(8);
      await descriptor.close();
    });
  });

  describe('writeRecords', () => {
    /** A record with `validCount` entries whose bytes are all `fill`. */
    function record(index: number, validCount: number, invalidCount: number, fill: number): Uint8Array {
      const bytes = new Uint8Array(8 + 16 * validCount).fill(fill);
      const header = new DataView(bytes.buffer);
      header.setUint32(0, index, true);
      header.setUint16(4, validCount, true);
      header.setUint16(6, invalidCount, true);
      return bytes;
    }
    const three = Buffer.concat([record(5, 2, 0, 0xaa), record(7, 0, 9, 0), record(16, 1, 0, 0xbb)]);

    test('makes one write of each record', async () => {
      // A datagram socket keeps the bytes of one write together. bash can open one, and lends it.
      const receiver = createSocket('udp4');
      receiver.bind(0, '127.0.0.1');
      await once(receiver, 'listening');
      const bash = spawn('bash', ['-c', `exec 3<>/dev/udp/127.0.0.1/${receiver.address().port}; echo; read`]);
      await once(bash.stdout, 'data');
      const socket = await addon.takeDescriptor(bash.pid!, 3);
      bash.stdin.end();

      const sizes: number[] = [];
      const received = new Promise<void>((resolve) => {
        receiver.on('message', (message) => {
          if (sizes.push(message.length) === 3) resolve();
        });
      });
      expect(await addon.writeRecords(socket, three)).toEqual({
        bytesApplied: 72,
        recordsApplied: 3,
      });
      await received;
      expect(sizes).toEqual([40, 8, 24]);
      await socket.close();
      receiver.close();
    });

    test('writes the bytes unchanged, from any alignment', async () => {
      const file = path.join(folder, 'records');
      const descriptor = await adopt(file, 'w');
      const shifted = new Uint8Array(three.length + 3);
      shifted.set(three, 3);
      expect(await addon.writeRecords(descriptor, shifted.subarray(3))).toEqual({
        bytesApplied: 72,
        recordsApplied: 3,
      });
      await descriptor.close();
      expect(readFileSync(file)).toEqual(three);
    });

    test('no bytes are no records', async () => {
      const descriptor = await adopt('/dev/full', 'w');
      expect(await addon.writeRecords(descriptor, new Uint8Array(0))).toEqual({
        bytesApplied: 0,
        recordsApplied: 0,
      });
      await descriptor.close();
    });

    test.each([
      ['a header', 48 + 7],
      ['the entries', 72 - 1],
    ])('of records the last of which is cut in %s the kernel is shown none', async (_where, length) => {
      const file = path.join(folder, 'cut');
      const descriptor = await adopt(file, 'w');
      expect(await addon.writeRecords(descriptor, three.subarray(0, length))).toEqual({
        bytesApplied: 0,
        recordsApplied: 0,
        cut: { byteOffset: 48, recordIndex: 2 },
      });
      await descriptor.close();
      expect(readFileSync(file)).toHaveLength(0);
    });

    test('a refused record is named, with the bytes applied before it', async () => {
      using fifo = await openFifo(addon, folder, constants.O_NONBLOCK);
      const many = Buffer.concat(Array.from({ length: 3000 }, (_, index) => record(index, 1, 0, 0x11)));
      const failure = await addon.writeRecords(fifo.descriptor, many).catch((error: unknown) => error);
      expect(failure).toMatchObject({ errno: EAGAIN, syscall: 'write' });
      const { ptex, recordIndex, bytesApplied } = failure as Record<keyof CallFailure, number>;
      expect(ptex).toBe(recordIndex);
      expect(bytesApplied).toBe(24 * recordIndex);
      const held = new Uint8Array(65536);
      expect(readSync(fifo.fd, held)).toBe(bytesApplied);
      expect(many.subarray(0, bytesApplied).equals(held.subarray(0, bytesApplied))).toBe(true);
      await fifo.descriptor.close();
    });

    test('a record taken in part is a failure, and no further one is written', async () => {
      using fifo = await openFifo(addon, folder, constants.O_NONBLOCK);
      const long = Buffer.concat([record(0, 1, 0, 1), record(1, 5000, 0, 2), record(5001, 1, 0, 3)]);
      const result = await addon.writeRecords(fifo.descriptor, long);
      expect(result).toMatchObject({ bytesApplied: 24, recordsApplied: 1 });
      const { ptex, bytesTaken: taken } = result.partial!;
      expect(ptex).toBe(1);
      expect(taken).toBeLessThan(8 + 16 * 5000);
      expect(readSync(fifo.fd, new Uint8Array(long.length))).toBe(24 + taken);
      await fifo.descriptor.close();
    });
  });

  describe('close', () => {
    test('waits for the call in flight and refuses further ones', async () => {
      using fifo = await openFifo(addon, folder);
      const buffer = new Uint8Array(4);
      const events: string[] = [];
      const read = addon.read(fifo.descriptor, buffer).then((count) => events.push(`read ${count}`));
      const closed = fifo.descriptor.close().then(() => events.push('closed'));
      expect(() => addon.read(fifo.descriptor, buffer)).toThrow('closed');
      expect(() => fifo.descriptor.close()).toThrow('closed');
      writeSync(fifo.fd, Uint8Array.of(1, 2));
      await Promise.all([read, closed]);
      expect(events).toEqual(['read 2', 'closed']);
      expect([...buffer]).toEqual([1, 2, 0, 0]);
    });

    test('closes the descriptor itself, once', async () => {
      const before = numbersOf('/dev/null').length;
      const descriptors = await Promise.all(Array.from({ length: 100 }, () => adopt('/dev/null', 'r')));
      expect(numbersOf('/dev/null').length).toBe(before + 100);
      await Promise.all(descriptors.map((descriptor) => descriptor.close()));
      expect(numbersOf('/dev/null').length).toBe(before);
    });

    test('JavaScript can neither make a Descriptor nor forge one', async () => {
      const descriptor = await adopt('/dev/null', 'r');
      expect(() => {
        Reflect.construct(descriptor.constructor, [3]);
      }).toThrow(TypeError);
      for (const forged of [{}, Object.create(descriptor) as Descriptor, null, 3, new Map()]) {
        expect(() => addon.read(forged as Descriptor, new Uint8Array(1))).toThrow(TypeError);
      }
      await descriptor.close();
    });
  });

  describe('adopt', () => {
    test('takes the number over and makes it close-on-exec', async () => {
      const fd = openSync('/dev/null', 'r');
      const descriptor = await addon.adopt(fd, false);
      expect(isCloseOnExec(fd)).toBe(true);
      await descriptor.close();
      expect(() => fstatSync(fd)).toThrow('EBADF');
    });

    test('a duplicate is close-on-exec and leaves the number to its owner', async () => {
      const file = path.join(folder, 'duplicated');
      const fd = openSync(file, 'w');
      const descriptor = await addon.adopt(fd, true);
      expect(numbersOf(file)).toHaveLength(2);
      expect(numbersOf(file).filter(isCloseOnExec)).toHaveLength(2);
      await descriptor.close();
      expect(numbersOf(file)).toEqual([fd]);
      closeSync(fd);
    });

    test('a number is taken over once', async () => {
      const fd = openSync('/dev/null', 'r');
      const adopted = await Promise.allSettled([addon.adopt(fd, false), addon.adopt(fd, false)]);
      expect(adopted.map(({ status }) => status).sort()).toEqual(['fulfilled', 'rejected']);
      await expect(addon.adopt(fd, false)).rejects.toMatchObject({ errno: EBUSY });
      await addon.adopt(fd, true).then((duplicate) => duplicate.close());
      for (const one of adopted) if (one.status === 'fulfilled') await one.value.close();
      const again = openSync('/dev/null', 'r');
      expect(again).toBe(fd);
      await (await addon.adopt(again, false)).close();
    });

    test('a number of a file of another name is told its name, and is not touched', async () => {
      const fd = openSync('/dev/null', 'r');
      const before = numbersOf('/dev/null').length;
      expect(await addon.adopt(fd, false, '/dev/zero')).toBe('/dev/null');
      expect(await addon.adopt(fd, true, '/dev/zero')).toBe('/dev/null');
      expect(numbersOf('/dev/null')).toHaveLength(before);
      const adopted = await addon.adopt(fd, false, '/dev/null');
      expect(adopted).not.toBe('/dev/null');
      await (adopted as Descriptor).close();
    });

    test('the open file says what it is', async () => {
      const descriptor = await adopt('/dev/null', 'w');
      const { name, flags } = await addon.inspectFile(descriptor);
      expect(name).toBe('/dev/null');
      expect(flags & 3).toBe(constants.O_WRONLY);
      await descriptor.close();
    });

    test('a number that is not open gives EBADF', async () => {
      await expect(addon.adopt(1_000_000, false)).rejects.toMatchObject({ errno: EBADF, syscall: 'fcntl' });
      expect(() => addon.adopt(-1, false)).toThrow(TypeError);
      expect(() => addon.adopt(1.5, false)).toThrow(TypeError);
      expect(() => addon.adopt(NaN, false)).toThrow(TypeError);
    });

    test('a path with a NUL in it is refused, not cut there', () => {
      expect(() => addon.openKvm('/dev/null\0.socket')).toThrow('Expected a string without NUL');
    });
  });
});
