import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, constants, existsSync, openSync, statSync, writeFileSync } from 'node:fs';
import { type Server, type Socket, createServer } from 'node:net';
import path from 'node:path';
import { setImmediate } from 'node:timers/promises';
import { describe, expect, test } from 'vitest';
import { HtabSystemError, HtabUnavailableError } from '../../lib/errors.js';
import { adoptHtab, receiveHtab, takeHtab } from '../../lib/vm/kvm/handover.js';
import { KvmHandle } from '../../lib/vm/kvm/kvm-handle.js';
import { KvmVm } from '../../lib/vm/kvm/kvm-vm.js';
import { addonIfBuilt, isCloseOnExec, numbersOf, openFifo, scratchFolder } from './support.js';

const built = addonIfBuilt();

describe.skipIf(built === undefined)('passing descriptors between processes', () => {
  const addon = built!;
  const folder = scratchFolder();
  let sockets = 0;
  const socketPath = (): string => path.join(folder, `socket-${(sockets += 1)}`);

  /** Serves connections until the block ends. */
  async function serve(
    at: string,
    onConnection: (socket: Socket) => void,
  ): Promise<Server & AsyncDisposable> {
    const server = createServer(onConnection);
    server.listen(at);
    await once(server, 'listening');
    return server;
  }

  /** A peer that sends `count` descriptors of /dev/null with one message. */
  async function sendMany(at: string, count: number): Promise<Disposable> {
    const peer = spawn('python3', [
      '-c',
      `import os, socket
server = socket.socket(socket.AF_UNIX); server.bind(${JSON.stringify(at)}); server.listen(1)
print("listening", flush=True)
socket.send_fds(server.accept()[0], [b"here"], [os.open("/dev/null", os.O_RDONLY) for _ in range(${count})])`,
    ]);
    await once(peer.stdout, 'data');
    return {
      [Symbol.dispose]: () => {
        peer.kill();
      },
    };
  }

  describe('over a Unix socket', () => {
    test('what is offered is received, close-on-exec, and shares the open file', async () => {
      const file = path.join(folder, 'shared');
      writeFileSync(file, 'abcdef');
      const mine = await addon.adopt(openSync(file, 'r'), false);
      const at = socketPath();
      const offered = addon.offerDescriptor(mine, at, 10_000);
      const received = receiveWhenThere(at);
      await offered;
      const { descriptors } = await received;
      expect(descriptors).toHaveLength(1);
      expect((await addon.inspectFile(descriptors[0]!)).name).toBe(file);
      expect(numbersOf(file).filter(isCloseOnExec)).toHaveLength(2);

      const bytes = new Uint8Array(2);
      await addon.read(mine, bytes);
      await addon.read(descriptors[0]!, bytes);
      expect(Buffer.from(bytes).toString()).toBe('cd');
      await Promise.all([mine.close(), descriptors[0]!.close()]);
      expect(existsSync(at)).toBe(false);
    });

    /** Receives from a peer that is about to listen. */
    async function receiveWhenThere(
      at: string,
    ): Promise<Awaited<ReturnType<typeof addon.receiveDescriptors>>> {
      for (;;) {
        try {
          return await addon.receiveDescriptors(at, '', 10_000);
        } catch (error) {
          const { syscall } = error as { syscall?: string };
          if (syscall !== 'connect') throw error;
        }
      }
    }

    test('only the same user may connect to what is offered', async () => {
      const mine = await addon.adopt(openSync('/dev/null', 'r'), false);
      const at = socketPath();
      const offered = addon.offerDescriptor(mine, at, 10_000);
      while (!existsSync(at)) await setImmediate();
      expect(statSync(at).mode & 0o777).toBe(0o600);
      const { descriptors } = await receiveWhenThere(at);
      await offered;
      await Promise.all([mine.close(), descriptors[0]!.close()]);
    });

    test('the request is sent, and the text that comes back with the descriptors is given', async () => {
      const at = socketPath();
      let asked = '';
      await using _server = await serve(at, (socket) => {
        socket.on('data', (chunk) => {
          asked += chunk.toString();
          socket.end('none for you\n');
        });
      });
      expect(await addon.receiveDescriptors(at, 'open-read\n', 10_000)).toEqual({
        descriptors: [],
        text: 'none for you\n',
      });
      expect(asked).toBe('open-read\n');
    });

    test('several descriptors of one message are all received', async () => {
      const before = numbersOf('/dev/null').length;
      const at = socketPath();
      using _peer = await sendMany(at, 16);
      const { descriptors, text } = await addon.receiveDescriptors(at, '', 10_000);
      expect(text).toBe('here');
      expect(descriptors).toHaveLength(16);
      expect(numbersOf('/dev/null').length).toBe(before + 16);
      await Promise.all(descriptors.map((each) => each.close()));
      expect(numbersOf('/dev/null').length).toBe(before);
    });

    test('of more than sixteen the rest is closed by the kernel', async () => {
      const at = socketPath();
      using _peer = await sendMany(at, 40);
      const { descriptors } = await addon.receiveDescriptors(at, '', 10_000);
      expect(descriptors).toHaveLength(16);
      await Promise.all(descriptors.map((each) => each.close()));
    });

    test('a peer that says nothing runs into the deadline', async () => {
      const at = socketPath();
      const held: Socket[] = [];
      await using _server = await serve(at, (socket) => held.push(socket));
      await expect(receiveHtab(at, { timeoutMs: 30 })).rejects.toMatchObject({
        errnoName: 'ETIMEDOUT',
        syscall: 'recvmsg',
        hint: 'the peer sent nothing in time',
      });
      for (const socket of held) socket.destroy();
    });

    test('nobody coming runs into the deadline, and the path is removed', async () => {
      const handle = new KvmHandle(addon, await addon.adopt(openSync('/dev/null', 'r'), false), 'read');
      const at = socketPath();
      await expect(handle.sendTo(at, { timeoutMs: 30 })).rejects.toMatchObject({
        errnoName: 'ETIMEDOUT',
        syscall: 'accept4',
      });
      expect(existsSync(at)).toBe(false);
      writeFileSync(at, 'mine');
      await expect(handle.sendTo(at, { timeoutMs: 30 })).rejects.toMatchObject({ errnoName: 'EADDRINUSE' });
      expect(existsSync(at)).toBe(true);
      await handle.close();
      await expect(handle.sendTo(at)).rejects.toMatchObject({ code: 'ERR_HTAB_STATE', state: 'closed' });
    });

    test('a peer that hangs up, a path with nobody, and a path too long are told apart', async () => {
      const at = socketPath();
      await using _server = await serve(at, (socket) => socket.end());
      await expect(receiveHtab(at)).rejects.toMatchObject({ errnoName: 'ENODATA', syscall: 'recvmsg' });
      await expect(receiveHtab(`${at}-not`)).rejects.toMatchObject({
        errnoName: 'ENOENT',
        syscall: 'connect',
      });
      await expect(receiveHtab('x'.repeat(108))).rejects.toMatchObject({ errnoName: 'ENAMETOOLONG' });
      await expect(receiveHtab('')).rejects.toBeInstanceOf(HtabSystemError);
    });

    test.each([0, 1, 3])(
      'receiveHtab refuses %i descriptors that are no HTAB, and keeps none open',
      async (count) => {
        const at = socketPath();
        using _peer = await sendMany(at, count);
        const before = numbersOf('/dev/null').length;
        await expect(receiveHtab(at)).rejects.toMatchObject({
          code: 'ERR_HTAB_UNAVAILABLE',
          reason: 'unsupported',
        });
        expect(numbersOf('/dev/null').length).toBe(before);
      },
    );
  });

  describe('by number', () => {
    test('a descriptor of another process is taken, and only if it is an HTAB', async () => {
      using fifo = await openFifo(addon, folder);
      const other = spawn('sleep', ['1000'], { stdio: [fifo.fd, 'ignore', 'ignore'] });
      await once(other, 'spawn');
      const taken = await addon.takeDescriptor(other.pid!, 0);
      expect((await addon.inspectFile(taken)).name).toBe(fifo.file);
      expect(numbersOf(fifo.file).every(isCloseOnExec)).toBe(true);
      await taken.close();
      await expect(takeHtab({ pid: other.pid!, fd: 0 })).rejects.toThrow(
        `the descriptor is ${JSON.stringify(fifo.file)}, not "anon_inode:kvm-htab"`,
      );
      await expect(takeHtab({ pid: other.pid!, fd: 99 })).rejects.toMatchObject({
        errnoName: 'EBADF',
        syscall: 'pidfd_getfd',
      });
      other.kill();
      await once(other, 'exit');
      await expect(takeHtab({ pid: other.pid!, fd: 0 })).rejects.toMatchObject({
        errnoName: 'ESRCH',
        syscall: 'pidfd_open',
        operation: `take descriptor 0 of process ${other.pid}`,
      });
      await fifo.descriptor.close();
    });

    test('a number that is no HTAB, or no VM, stays its owner’s', async () => {
      const fd = openSync('/dev/null', constants.O_RDWR);
      const before = numbersOf('/dev/null').length;
      await expect(adoptHtab(fd)).rejects.toBeInstanceOf(HtabUnavailableError);
      await expect(KvmVm.fromFd(fd)).rejects.toThrow('not "anon_inode:kvm-vm"');
      expect(numbersOf('/dev/null').length).toBe(before);
      closeSync(fd);
      await expect(adoptHtab(fd)).rejects.toMatchObject({
        errnoName: 'EBADF',
        operation: `adopt descriptor ${fd}`,
      });
    });
  });
});
