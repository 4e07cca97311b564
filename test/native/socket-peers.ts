import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { openSync } from 'node:fs';
import { type Server, type Socket, createServer } from 'node:net';
import path from 'node:path';
import { HtabSystemError } from '../../lib/base/errors.js';
import type { Addon, SocketMessage } from '../../lib/vm/kvm/addon.js';
import { KvmHandle } from '../../lib/vm/kvm/kvm-handle.js';
import { receiveMessage } from '../../lib/vm/kvm/passing.js';

/** Serves connections until the block ends. */
export async function serve(
  at: string,
  onConnection: (socket: Socket) => void,
): Promise<Server & AsyncDisposable> {
  const server = createServer(onConnection);
  server.listen(at);
  await once(server, 'listening');
  return server;
}

/** A peer in Python, which listens at `at` and then runs `script` on the first `peer` that connects. */
export async function pythonPeer(at: string, script: string): Promise<Disposable> {
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
export const sendMany = (at: string, count: number): Promise<Disposable> =>
  pythonPeer(
    at,
    `socket.send_fds(peer, [b"here"], [os.open("/dev/null", os.O_RDONLY) for _ in range(${count})])`,
  );

export const openNull = async (addon: Addon): Promise<KvmHandle> =>
  new KvmHandle(addon, await addon.adopt(openSync('/dev/null', 'r'), false), 'read');

/** Receives from a peer that is about to listen. */
export async function receiveWhenThere(addon: Addon, at: string): Promise<SocketMessage> {
  for (;;) {
    try {
      return await receiveMessage(addon, at, '', {});
    } catch (error) {
      if (!(error instanceof HtabSystemError) || error.syscall !== 'connect') throw error;
    }
  }
}

/** Paths of sockets in a folder, another one each time. */
export function socketPaths(folder: string): () => string {
  let sockets = 0;
  return () => path.join(folder, `socket-${(sockets += 1)}`);
}
