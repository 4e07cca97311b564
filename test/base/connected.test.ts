import { createServer, connect, Socket } from 'node:net';
import { afterEach, expect, test, vi } from 'vitest';
import { connected } from '../../lib/base/connected.js';
import { scratchFiles } from '../scratch.js';

const scratch = scratchFiles();
const operation = 'connect to a thing';

afterEach(() => {
  vi.useRealTimers();
});

test('a socket that does not connect in time fails with ETIMEDOUT and what to do', async () => {
  vi.useFakeTimers();
  // It was never told to connect.
  const waiting = connected(new Socket(), { operation, timeoutMs: 5000, hint: 'check the thing' });
  vi.advanceTimersByTime(5000);
  await expect(waiting).rejects.toMatchObject({
    ...{ code: 'ERR_HTAB_SYSTEM', errnoName: 'ETIMEDOUT', syscall: 'connect' },
    message: 'connect to a thing: connect failed with ETIMEDOUT; check the thing',
  });
});

test('waiting for a connection ends with the reason of a signal, also of one that has aborted before', async () => {
  const reason = new Error('enough');
  const controller = new AbortController();
  const waiting = connected(new Socket(), { operation, timeoutMs: 60_000, signal: controller.signal });
  controller.abort(reason);
  await expect(waiting).rejects.toBe(reason);
  const { signal } = controller;
  await expect(connected(new Socket(), { operation, timeoutMs: 60_000, signal })).rejects.toBe(reason);
});

test('a connection that is made resolves, and one that is refused names the operation', async () => {
  const path = scratch('socket');
  await expect(connected(connect({ path }), { operation, timeoutMs: 60_000 })).rejects.toMatchObject({
    ...{ operation, errnoName: 'ENOENT' },
  });
  const server = createServer((socket) => socket.destroy());
  await new Promise<void>((resolve) => server.listen(path, resolve));
  const socket = connect({ path });
  await connected(socket, { operation, timeoutMs: 60_000 });
  socket.destroy();
  server.close();
});
