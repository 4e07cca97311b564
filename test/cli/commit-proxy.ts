import { once } from 'node:events';
import { connect, createServer, type AddressInfo, type Socket } from 'node:net';
import { onTestFinished } from 'vitest';

/** Type and header length of a frame (lib/frames/frame.ts); `commit` as lib/migration/wire/protocol.ts numbers it. */
const FRAME_HEADER_BYTES = 16;
const COMMIT = 9;

/**
 * A line between the two sides of a migration that breaks at the commit.
 *
 * - `lose-commit`: the destination never hears it, and both connections are cut.
 * - `lose-answer`: the destination hears it, the source nothing more; its connection is cut once the destination has
 *   closed its own.
 */
export class CommitProxy {
  readonly address: string;
  /** Whether a source that comes back is connected again. */
  passesAgain = false;
  #broken = false;

  static async start(destination: string, fault: 'lose-commit' | 'lose-answer'): Promise<CommitProxy> {
    const server = createServer();
    const sockets = new Set<Socket>();
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    const proxy = new CommitProxy((server.address() as AddressInfo).port);
    const port = Number(destination.split(':').at(-1));
    server.on('connection', (source) => {
      if (proxy.#broken && !proxy.passesAgain) {
        source.destroy();
        return;
      }
      const target = connect({ port, host: '127.0.0.1' });
      for (const socket of [source, target]) {
        sockets.add(socket);
        socket.on('error', () => undefined);
      }
      if (proxy.#broken) source.pipe(target).pipe(source);
      else proxy.#join(source, target, fault);
    });
    onTestFinished(() => {
      server.close();
      for (const socket of sockets) socket.destroy();
    });
    return proxy;
  }

  private constructor(port: number) {
    this.address = `tcp://127.0.0.1:${port}`;
  }

  #join(source: Socket, target: Socket, fault: 'lose-commit' | 'lose-answer'): void {
    let unread = Buffer.alloc(0);
    source.on('data', (chunk: Buffer) => {
      unread = Buffer.concat([unread, chunk]);
      for (let frame = firstFrame(unread); frame !== undefined; frame = firstFrame(unread)) {
        unread = unread.subarray(frame.length);
        if (frame[2] !== COMMIT) {
          target.write(frame);
          continue;
        }
        this.#broken = true;
        if (fault === 'lose-answer') target.write(frame);
        else {
          source.destroy();
          target.destroy();
        }
        return;
      }
    });
    target.on('data', (chunk: Buffer) => {
      if (!this.#broken) source.write(chunk);
    });
    source.on('close', () => target.destroy());
    target.on('close', () => source.destroy());
  }
}

function firstFrame(bytes: Buffer): Buffer | undefined {
  if (bytes.length < FRAME_HEADER_BYTES) return undefined;
  const length = FRAME_HEADER_BYTES + bytes.readUInt32BE(4);
  return bytes.length < length ? undefined : bytes.subarray(0, length);
}
