import { once } from 'node:events';
import { createServer, type Socket } from 'node:net';
import { onTestFinished } from 'vitest';

/** One request that a {@link startVmm} has got. */
export interface VmmRequest {
  /** Its line. */
  readonly line: string;
  /** What follows the line. */
  readonly body: Buffer;
  /** Resolves once the client has ended its side of the connection. */
  readonly ended: Promise<unknown>;
  /** Ends the connection after these bytes. */
  readonly hangUp: (last: string) => void;
}

/** What a VMM answers: all bytes of it; nothing: it hangs up. */
type Answer = string | Buffer | undefined;

export interface TestVmm {
  readonly at: string;
  /** Lines of all requests, in the order in which they came. */
  readonly lines: string[];
}

/** A VMM's control socket that serves each connection by itself, one request after the other. */
export async function startVmm(
  at: string,
  answer: (request: VmmRequest) => Answer | Promise<Answer>,
): Promise<TestVmm> {
  const lines: string[] = [];
  const sockets = new Set<Socket>();
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    sockets.add(socket.on('error', () => undefined));
    void serve(socket, async (request) => {
      lines.push(request.line);
      return answer(request);
    });
  }).listen(at);
  await once(server, 'listening');
  onTestFinished(() => {
    server.close();
    for (const socket of sockets) socket.destroy();
  });
  return { at, lines };
}

async function serve(socket: Socket, answer: (request: VmmRequest) => Promise<Answer>): Promise<void> {
  const ended = new Promise((resolve) => socket.once('end', resolve).once('close', resolve));
  let text = Buffer.alloc(0);
  let turn = Promise.resolve();
  socket.on('data', (chunk: Buffer) => {
    text = Buffer.concat([text, chunk]);
    for (;;) {
      const end = text.indexOf('\n');
      const line = text.toString('utf8', 0, end);
      const length = Number(/^accept (\d+)$/.exec(line)?.[1] ?? 0);
      if (end < 0 || text.length < end + 1 + length) return;
      const body = text.subarray(end + 1, end + 1 + length);
      text = text.subarray(end + 1 + length);
      turn = turn.then(async () => {
        const hangUp = (last: string): void => void socket.end(last);
        const given = await answer({ line, body, ended, hangUp });
        if (given === undefined) socket.destroy();
        else if (!socket.writableEnded) socket.write(given);
      });
    }
  });
  await ended;
  await turn;
  socket.end();
}
