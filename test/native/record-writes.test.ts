import { spawn } from 'node:child_process';
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { constants, readFileSync, readSync } from 'node:fs';
import { constants as os } from 'node:os';
import path from 'node:path';
import { describe, expect, test } from 'vitest';
import type { CallFailure } from '../../lib/vm/call-result.js';
import { addonIfBuilt, adoptFile, openFifo, scratchFolder } from './support.js';

const { EAGAIN } = os.errno;

const built = addonIfBuilt();

describe.skipIf(built === undefined)('the addon', () => {
  const addon = built!;
  const folder = scratchFolder();

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
      const descriptor = await adoptFile(addon, file, 'w');
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
      const descriptor = await adoptFile(addon, '/dev/full', 'w');
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
      const descriptor = await adoptFile(addon, file, 'w');
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
});
