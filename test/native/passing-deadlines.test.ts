import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, openSync, writeFileSync } from 'node:fs';
import type { Socket } from 'node:net';
import { setImmediate } from 'node:timers/promises';
import { describe, expect, test } from 'vitest';
import { HtabSystemError } from '../../lib/base/errors.js';
import { receiveHtab } from '../../lib/vm/kvm/handover.js';
import { KvmHandle } from '../../lib/vm/kvm/kvm-handle.js';
import { addonFile, addonIfBuilt, scratchFolder } from './support.js';
import { serve, openNull, socketPaths } from './socket-peers.js';

const built = addonIfBuilt();

describe.skipIf(built === undefined)('passing descriptors between processes', () => {
  const addon = built!;
  const folder = scratchFolder();
  const socketPath = socketPaths(folder);

  describe('over a Unix socket', () => {
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
      await using handle = await openNull(addon);
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
  });
});
