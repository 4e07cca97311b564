import { spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  closeSync,
  constants,
  existsSync,
  openSync,
  readFileSync,
  renameSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import path from 'node:path';
import { setImmediate } from 'node:timers/promises';
import { describe, expect, test } from 'vitest';
import { HtabUnavailableError } from '../../lib/base/errors.js';
import { CallQueue } from '../../lib/vm/call-queue.js';
import type { Addon, Descriptor } from '../../lib/vm/kvm/addon.js';
import { adoptHtab, receiveHtab, takeHtab } from '../../lib/vm/kvm/handover.js';
import { KvmHandle } from '../../lib/vm/kvm/kvm-handle.js';
import { KvmVm } from '../../lib/vm/kvm/kvm-vm.js';
import { receiveMessage } from '../../lib/vm/kvm/passing.js';
import { addonIfBuilt, isCloseOnExec, numbersOf, openFifo, scratchFolder } from './support.js';
import { serve, openNull, receiveWhenThere, socketPaths } from './socket-peers.js';

const built = addonIfBuilt();

describe.skipIf(built === undefined)('passing descriptors between processes', () => {
  const addon = built!;
  const folder = scratchFolder();
  const socketPath = socketPaths(folder);

  describe('over a Unix socket', () => {
    test('what is sent is received, close-on-exec, and shares the open file', async () => {
      const file = path.join(folder, 'shared');
      writeFileSync(file, 'abcdef');
      await using mine = new KvmHandle(addon, await addon.adopt(openSync(file, 'r'), false), 'read');
      const at = socketPath();
      const sent = mine.sendTo(at);
      const { descriptors } = await receiveWhenThere(addon, at);
      await sent;
      expect(descriptors).toHaveLength(1);
      const [received] = descriptors as [Descriptor];
      expect((await addon.inspectFile(received)).name).toBe(file);
      expect(numbersOf(file)).toHaveLength(2);
      expect(numbersOf(file).every(isCloseOnExec)).toBe(true);

      const bytes = new Uint8Array(2);
      await mine.read(bytes);
      await addon.read(received, bytes);
      expect(Buffer.from(bytes).toString()).toBe('cd');
      await received.close();
      expect(existsSync(at)).toBe(false);
    });

    test('only the same user may connect to what is offered', async () => {
      await using mine = await openNull(addon);
      const at = socketPath();
      const sent = mine.sendTo(at);
      while (!existsSync(at)) await setImmediate();
      expect(statSync(at).mode & 0o777).toBe(0o600);
      const { descriptors } = await receiveWhenThere(addon, at);
      await sent;
      await descriptors[0]!.close();
    });

    test('a socket of somebody else that took the path meanwhile is left there', async () => {
      let asked = (): void => undefined;
      const waiting = new Promise<void>((resolve) => (asked = resolve));
      const watched: Addon = {
        ...addon,
        offer: (listener, descriptor) => {
          asked();
          return addon.offer(listener, descriptor);
        },
      };
      await using mine = new KvmHandle(watched, await addon.adopt(openSync('/dev/null', 'r'), false), 'read');
      const at = socketPath();
      const sent = mine.sendTo(at);
      await waiting;
      const moved = `${at}-moved`;
      renameSync(at, moved);
      writeFileSync(at, 'mine');
      const { descriptors } = await receiveWhenThere(addon, moved);
      await sent;
      expect(readFileSync(at, 'utf8')).toBe('mine');
      await descriptors[0]!.close();
    });

    test('the wait for a peer holds up neither calls nor close, and ends with the signal', async () => {
      using fifo = await openFifo(addon, folder);
      const before = numbersOf(fifo.file).length;
      const queue = new CallQueue();
      const handle = new KvmHandle(addon, fifo.descriptor, 'read', queue);
      const at = socketPath();
      const abort = new AbortController();
      const sent = handle.sendTo(at, { signal: abort.signal });
      const aborted = expect(sent).rejects.toThrow('enough');
      while (!existsSync(at)) await setImmediate();
      await handle.close();
      await queue.run(() => undefined);
      // The duplicate.
      expect(numbersOf(fifo.file)).toHaveLength(before);
      abort.abort(new Error('enough'));
      await aborted;
      expect(numbersOf(fifo.file)).toHaveLength(before - 1);
      expect(existsSync(at)).toBe(false);
    });

    test('a handle is not sent once close has been called', async () => {
      const handle = await openNull(addon);
      const closed = handle.close();
      await expect(handle.sendTo(socketPath())).rejects.toMatchObject({
        code: 'ERR_HTAB_STATE',
        state: 'closed',
      });
      await closed;
    });

    test('the request is sent, and the text that comes back with the descriptors is given', async () => {
      const at = socketPath();
      let asked = '';
      const request = `${'long '.repeat(200_000)}open-read\n`;
      await using _server = await serve(at, (socket) => {
        socket.on('data', (chunk) => {
          asked += chunk.toString();
          if (asked.length === request.length) socket.end('none for you\n');
        });
      });
      expect(await receiveMessage(addon, at, request, {})).toEqual({
        descriptors: [],
        text: 'none for you\n',
      });
      expect(asked).toBe(request);
    });
  });

  test.each([
    ['fd', () => adoptHtab(-1)],
    ['fd', () => adoptHtab(2 ** 31)],
    ['fd', () => KvmVm.fromFd(1.5)],
    ['hptOrder', () => KvmVm.fromFd(0, { hptOrder: 99 })],
    ['hptOrder', () => KvmVm.fromFd(0, { hptOrder: 'x' as unknown as number })],
    ['pid', () => takeHtab({ pid: 0, fd: 0 })],
    ['fd', () => takeHtab({ pid: 1, fd: NaN })],
    ['timeoutMs', () => receiveHtab('/nowhere', { timeoutMs: -1 })],
    ['timeoutMs', () => receiveHtab('/nowhere', { timeoutMs: Infinity })],
  ])('a number that %s cannot be is named', async (name, call) => {
    await expect(call()).rejects.toMatchObject({
      code: 'ERR_OUT_OF_RANGE',
      message: expect.stringMatching(`^The value of "${name}" is out of range`) as string,
    });
  });

  test.each([
    ['socketPath', () => receiveHtab(undefined as unknown as string)],
    ['socketPath', () => receiveHtab('\0abstract')],
    ['options.request', () => receiveHtab('/nowhere', { request: 7 as unknown as string })],
    [
      'socketPath',
      async () => {
        await using handle = await openNull(addon);
        await handle.sendTo(7 as unknown as string);
      },
    ],
  ])('a string that %s cannot be is named', async (name, call) => {
    await expect(call()).rejects.toThrow(new RegExp(`^The "${name}" argument must`));
    await expect(call()).rejects.toBeInstanceOf(TypeError);
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
