import { once } from 'node:events';
import { connect as connectNet, createServer, type Server, type Socket } from 'node:net';
import { connect, listen } from '../../../lib/transport/transport.js';
import { relayMigration } from '../../../lib/qemu/relay/relay.js';
import type { RelayOptions } from '../../../lib/qemu/relay/relay-options.js';
import type { RelayReport } from '../../../lib/qemu/relay/relay-report.js';
import { command, header } from '../stream-writer.js';

/** The message with which a destination says how loading went. */
export const shut = (value: number): Buffer => Buffer.of(0, 1, 0, 4, 0, 0, 0, value);
/** The answer to a ping. */
export const pong = Buffer.of(0, 2, 0, 4, 0, 0, 0, 1);

/** A stream whose source asks for an answer. */
export function withReturnPath(stream: Buffer): Buffer {
  const [, rest] = [stream.subarray(0, 8), stream.subarray(8)];
  // The configuration comes first: its mark, and its name after a length.
  const end = rest[0] === 7 ? 5 + rest.readUInt32BE(1) : 0;
  return Buffer.concat([header, rest.subarray(0, end), command(1), rest.subarray(end)]);
}

/** A QEMU that waits with -incoming. */
export interface FakeTarget {
  readonly address: string;
  /** Connections that have come. */
  readonly sockets: Socket[];
  /** What has come over all of them. */
  readonly received: () => Buffer;
  readonly closed: Promise<unknown>;
  readonly server: Server;
}

/** @param onData told of all that has come so far */
export async function fakeTarget(
  at: string | number,
  onData: (received: Buffer, socket: Socket) => void = () => undefined,
): Promise<FakeTarget> {
  const chunks: Buffer[] = [];
  const sockets: Socket[] = [];
  const server = createServer((socket) => {
    sockets.push(socket.on('error', () => undefined));
    socket.on('data', (chunk) => {
      chunks.push(chunk);
      onData(Buffer.concat(chunks), socket);
    });
    socket.on('close', () => server.close());
  });
  server.listen(typeof at === 'number' ? { port: at, host: '127.0.0.1' } : { path: at });
  await once(server, 'listening');
  const bound = server.address();
  return {
    address: typeof bound === 'string' ? `unix:${bound}` : `tcp://127.0.0.1:${bound!.port}`,
    sockets,
    received: () => Buffer.concat(chunks),
    closed: once(server, 'close'),
    server,
  };
}

/** A QEMU that migrates; what it is answered, and how its connection ended. */
export class FakeSource {
  readonly socket: Socket;
  readonly closed: Promise<unknown>;
  answered = Buffer.alloc(0);

  constructor(address: string) {
    const tcp = /^tcp:\/\/(.*):(\d+)$/.exec(address);
    this.socket =
      tcp === null
        ? connectNet({ path: address.slice('unix:'.length) })
        : connectNet({ host: tcp[1]!, port: Number(tcp[2]) });
    this.socket.on('error', () => undefined);
    this.socket.on('data', (chunk) => {
      this.answered = Buffer.concat([this.answered, chunk]);
    });
    this.closed = new Promise((resolve) => this.socket.once('close', resolve));
  }

  /** Sends in pieces, each once the one before has left. */
  async send(stream: Uint8Array, pieceBytes = stream.length): Promise<void> {
    for (let at = 0; at < stream.length && !this.socket.destroyed; at += pieceBytes) {
      if (!this.socket.write(stream.subarray(at, at + pieceBytes))) {
        await Promise.race([once(this.socket, 'drain'), this.closed]).catch(() => undefined);
      } else if (pieceBytes < stream.length) {
        await new Promise((resolve) => setImmediate(resolve));
      }
    }
  }
}

/** A relay between two addresses. */
export async function startRelay(
  from: string,
  to: string,
  options: RelayOptions = {},
): Promise<{ readonly address: string; readonly result: Promise<RelayReport> }> {
  const listener = await listen(from);
  const result = relayMigration(listener, (signal) => connect(to, { signal }), options).finally(() => {
    listener.close();
  });
  // A test looks at it later.
  result.catch(() => undefined);
  return { address: listener.address, result };
}
