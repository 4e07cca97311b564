import { closeSync, constants, fstatSync, openSync, readFileSync, writeFileSync, writeSync } from 'node:fs';
import { constants as os } from 'node:os';
import path from 'node:path';
import { describe, expect, test } from 'vitest';
import type { Addon, Descriptor } from '../../lib/vm/kvm/addon.js';
import {
  addonIfBuilt,
  adoptFile,
  isCloseOnExec,
  numbersOf,
  openFifo,
  scratchFolder,
  transferAway,
} from './support.js';

const { EBADF, EBUSY, ENOSPC } = os.errno;

const built = addonIfBuilt();

describe.skipIf(built === undefined)('the addon', () => {
  const addon = built!;
  const folder = scratchFolder();

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
      const descriptor = await adoptFile(addon, file, 'r');
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
      const descriptor = await adoptFile(addon, file, 'w');
      expect(await addon.write(descriptor, Uint8Array.of(9, 8, 7, 6).subarray(1, 3))).toBe(2);
      await descriptor.close();
      expect([...readFileSync(file)]).toEqual([8, 7]);
    });

    test('a refused call rejects with its errno and its name', async () => {
      const descriptor = await adoptFile(addon, '/dev/full', 'w');
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
      const descriptor = await adoptFile(addon, '/dev/zero', 'r');
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
      const descriptors = await Promise.all(
        Array.from({ length: 100 }, () => adoptFile(addon, '/dev/null', 'r')),
      );
      expect(numbersOf('/dev/null').length).toBe(before + 100);
      await Promise.all(descriptors.map((descriptor) => descriptor.close()));
      expect(numbersOf('/dev/null').length).toBe(before);
    });

    test('JavaScript can neither make a Descriptor nor forge one', async () => {
      const descriptor = await adoptFile(addon, '/dev/null', 'r');
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
      const descriptor = await adoptFile(addon, '/dev/null', 'w');
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
