import { spawn, spawnSync } from 'node:child_process';
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
import { type Server, type Socket, createServer } from 'node:net';
import { constants as os } from 'node:os';
import path from 'node:path';
import { setImmediate } from 'node:timers/promises';
import { describe, expect, test } from 'vitest';
import { HtabSystemError, HtabUnavailableError } from '../../lib/base/errors.js';
import { CallQueue } from '../../lib/vm/call-queue.js';
import type { Addon, Descriptor, SocketMessage } from '../../lib/vm/kvm/addon.js';
import { adoptHtab, receiveHtab, takeHtab } from '../../lib/vm/kvm/handover.js';
import { KvmHandle } from '../../lib/vm/kvm/kvm-handle.js';
import { KvmVm } from '../../lib/vm/kvm/kvm-vm.js';
import { receiveMessage } from '../../lib/vm/kvm/passing.js';
import { addonFile, addonIfBuilt, isCloseOnExec, numbersOf, openFifo, scratchFolder } from './support.js';

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

  /** A peer in Python, which listens at `at` and then runs `script` on the first `peer` that connects. */
  async function pythonPeer(at: string, script: string): Promise<Disposable> {
    const python = spawn(
      'python3',
      [
        '-c',
        `import os, socket, struct
server = socket.socket(socket.AF_UNIX); server.bind(${JSON.stringify(at)}); server.listen(1)
print("listening", flush=True)
peer = server.accept()[0]
${script}
try: peer.recv(1)
except ConnectionResetError: pass`,
      ],
      { stdio: ['ignore', 'pipe', 'inherit'] },
    );
    await once(python.stdout, 'data');
    return {
      [Symbol.dispose]: () => {
        python.kill();
      },
    };
  }

  /** A peer that sends `count` descriptors of /dev/null with one message. */
  const sendMany = (at: string, count: number): Promise<Disposable> =>
    pythonPeer(
      at,
      `socket.send_fds(peer, [b"here"], [os.open("/dev/null", os.O_RDONLY) for _ in range(${count})])`,
    );

  const openNull = async (): Promise<KvmHandle> =>
    new KvmHandle(addon, await addon.adopt(openSync('/dev/null', 'r'), false), 'read');

  /** Receives from a peer that is about to listen. */
  async function receiveWhenThere(at: string): Promise<SocketMessage> {
    for (;;) {
      try {
        return await receiveMessage(addon, at, '', {});
      } catch (error) {
        if (!(error instanceof HtabSystemError) || error.syscall !== 'connect') throw error;
      }
    }
  }

  describe('over a Unix socket', () => {
    test('what is sent is received, close-on-exec, and shares the open file', async () => {
      const file = path.join(folder, 'shared');
      writeFileSync(file, 'abcdef');
      await using mine = new KvmHandle(addon, await addon.adopt(openSync(file, 'r'), false), 'read');
      const at = socketPath();
      const sent = mine.sendTo(at);
      const { descriptors } = await receiveWhenThere(at);
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
      await using mine = await openNull();
      const at = socketPath();
      const sent = mine.sendTo(at);
      while (!existsSync(at)) await setImmediate();
      expect(statSync(at).mode & 0o777).toBe(0o600);
      const { descriptors } = await receiveWhenThere(at);
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
      const { descriptors } = await receiveWhenThere(moved);
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
      const handle = await openNull();
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

    test('several descriptors of one message are all received', async () => {
      const before = numbersOf('/dev/null').length;
      const at = socketPath();
      using _peer = await sendMany(at, 16);
      const { descriptors, text } = await receiveMessage(addon, at, '', {});
      expect(text).toBe('here');
      expect(descriptors).toHaveLength(16);
      expect(numbersOf('/dev/null').length).toBe(before + 16);
      await Promise.all(descriptors.map((each) => each.close()));
      expect(numbersOf('/dev/null').length).toBe(before);
    });

    test('of more than sixteen none is kept', async () => {
      const at = socketPath();
      using _peer = await sendMany(at, 40);
      const before = numbersOf('/dev/null').length;
      await expect(receiveHtab(at)).rejects.toMatchObject({
        errnoName: 'EMFILE',
        syscall: 'recvmsg',
        hint: expect.stringContaining('at most 16') as string,
      });
      expect(numbersOf('/dev/null').length).toBe(before);
    });

    test('a process that has no number left for the descriptor is told so', () => {
      const at = socketPath();
      const script = `
        const [addon, at] = [require(process.argv[1]), process.argv[2]];
        (async () => {
          const listener = await addon.listen(at);
          const peer = await addon.connect(at);
          await addon.offer(listener, peer);
          const held = [];
          try { for (;;) held.push(require('fs').openSync('/dev/null')); } catch {}
          await addon.receive(peer).then(console.log, ({ errno, syscall }) => console.log(syscall, errno));
        })();`;
      const { stdout, stderr } = spawnSync(
        'bash',
        ['-c', 'ulimit -n 100; exec "$@"', 'bash', process.execPath, '-e', script, addonFile(), at],
        { encoding: 'utf8' },
      );
      expect({ stdout, stderr }).toEqual({ stdout: `recvmsg ${os.errno.EMFILE}\n`, stderr: '' });
    });

    test('the text is cut at 512 bytes', async () => {
      const at = socketPath();
      using _peer = await pythonPeer(
        at,
        'socket.send_fds(peer, [b"x" * 2000], [os.open("/dev/null", os.O_RDONLY)])',
      );
      const { descriptors, text } = await receiveMessage(addon, at, '', {});
      expect(text).toBe('x'.repeat(512));
      expect(descriptors).toHaveLength(1);
      await descriptors[0]!.close();
    });

    test('text in a message before that of the descriptor is the peer’s answer', async () => {
      const at = socketPath();
      // The peer waits for us to hang up before it would send the descriptor.
      using _peer = await pythonPeer(at, 'peer.send(b"one moment")');
      await expect(receiveHtab(at)).rejects.toThrow(
        `the message over ${at} has 0 descriptors and says "one moment"; the peer must send one HTAB descriptor with its first message`,
      );
    });

    test('the close of a descriptor that is refused waits for nobody', async () => {
      const at = socketPath();
      // A TCP socket that is full, and whose close waits 10 minutes for the other end to take what is in it.
      using _peer = await pythonPeer(
        at,
        `tcp = socket.socket(); tcp.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
tcp.bind(("127.0.0.1", 0)); tcp.listen(1)
full = socket.socket(); full.connect(tcp.getsockname()); other = tcp.accept()[0]
full.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 600)); full.setblocking(False)
try:
  while True: full.send(b"x" * 65536)
except BlockingIOError: pass
socket.send_fds(peer, [b"ok 24"], [full.fileno()]); full.close()`,
      );
      const { descriptors } = await receiveMessage(addon, at, '', {});
      expect((await addon.inspectFile(descriptors[0]!)).name).toMatch(/^socket:/);
      const [full] = descriptors as [Descriptor];
      await full.close();
    });

    test('peers that say nothing run into the deadline, and hold no thread of the pool meanwhile', async () => {
      const at = socketPath();
      const held: Socket[] = [];
      await using _server = await serve(at, (socket) => held.push(socket));
      const abort = new AbortController();
      const silent = Array.from({ length: 8 }, () => receiveHtab(at, { signal: abort.signal }));
      const ended = Promise.allSettled(silent);
      while (held.length < 8) await setImmediate();
      await using handle = new KvmHandle(addon, await addon.adopt(openSync('/dev/zero', 'r'), false), 'read');
      expect(await handle.read(new Uint8Array(64))).toBe(64);
      await expect(receiveHtab(at, { timeoutMs: 30 })).rejects.toMatchObject({
        errnoName: 'ETIMEDOUT',
        syscall: 'recvmsg',
        hint: expect.stringContaining('the peer sent nothing in time') as string,
      });
      const reason = new Error('enough');
      abort.abort(reason);
      expect(await ended).toEqual(silent.map(() => ({ status: 'rejected', reason })));
      for (const socket of held) socket.destroy();
    });

    test('a process that waits for a peer can exit', async () => {
      const at = socketPath();
      const held: Socket[] = [];
      await using _server = await serve(at, (socket) => held.push(socket));
      const script = `
        const addon = require(process.argv[1]);
        (async () => {
          const peer = await addon.connect(process.argv[2]);
          for (let asked = 0; asked < 3; asked++) await addon.receive(peer).catch(() => {});
          addon.receive(peer).catch(() => {});
          process.exit(3);
        })();`;
      const child = spawn(process.execPath, ['-e', script, addonFile(), at], { stdio: 'inherit' });
      expect(await once(child, 'exit')).toEqual([3, null]);
      for (const socket of held) socket.destroy();
    });

    test('a listener that takes no connection runs into the deadline', async () => {
      const at = socketPath();
      const listener = await addon.listen(at);
      const waiting = [await addon.connect(at), await addon.connect(at)];
      await expect(receiveHtab(at, { timeoutMs: 30 })).rejects.toMatchObject({
        errnoName: 'ETIMEDOUT',
        syscall: 'connect',
      });
      await Promise.all([listener, ...waiting].map((each) => each.close()));
    });

    test('nobody coming runs into the deadline, and the path is removed', async () => {
      await using handle = await openNull();
      const at = socketPath();
      await expect(handle.sendTo(at, { timeoutMs: 30 })).rejects.toMatchObject({
        errnoName: 'ETIMEDOUT',
        syscall: 'accept4',
      });
      expect(existsSync(at)).toBe(false);
      writeFileSync(at, 'mine');
      await expect(handle.sendTo(at, { timeoutMs: 30 })).rejects.toMatchObject({ errnoName: 'EADDRINUSE' });
      expect(existsSync(at)).toBe(true);
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
        // They are closed beside the answer.
        while (numbersOf('/dev/null').length > before) await setImmediate();
      },
    );
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
        await using handle = await openNull();
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
