import type { Socket } from 'node:net';
import { connected } from '../../base/connected.js';
import { HtabUnavailableError } from '../../base/errors.js';
import { quotedText } from '../../base/foreign-text.js';
import { within } from '../../base/time.js';

/** Longest first line of an answer, in bytes. */
const MAX_LINE = 4096;
const NEWLINE = 10;

/** A request that has a connection to the VMM for itself, see `VmmSocket`. */
export interface VmmCall {
  /** Its line. */
  readonly request: string;
  /** Bytes that follow the line. */
  readonly body?: Uint8Array;
  /** Longest time to connect; without a signal, longest time for all of it, in ms. */
  readonly timeoutMs: number;
  /**
   * Aborts when nothing waits for the answer any more: the VMM sees the end of the connection, and the call goes on until it
   * has answered or ended the connection too.
   */
  readonly signal?: AbortSignal;
  /** Most bytes that the answer may announce; default: it has none. */
  readonly maxBytes?: number;
}

export interface VmmAnswer {
  /** The line after `ok`. */
  readonly words: string;
  readonly bytes: Uint8Array;
}

/**
 * Makes one request over a connection of its own.
 *
 * @throws HtabSystemError if the connection is refused, ETIMEDOUT if it takes too long
 * @throws HtabUnavailableError `refused` if the VMM refuses, does not answer in time, or hangs up
 * @throws the signal's reason, once the VMM has ended the call
 */
export async function callVmm(socketPath: string, call: VmmCall): Promise<VmmAnswer> {
  const { connect } = await import('node:net');
  const socket = connect({ path: socketPath });
  // A failure shows in what is awaited.
  socket.on('error', () => undefined);
  const { request, body = new Uint8Array(0), signal } = call;
  const giveUp = (): void => {
    socket.end();
    // A VMM that does not end the call must not keep this process.
    socket.unref();
  };
  try {
    const { timeoutMs } = call;
    await connected(socket, { operation: `connect to the VMM at ${socketPath}`, timeoutMs });
    socket.write(`${request}\n`);
    socket.write(body);
    signal?.addEventListener('abort', giveUp);
    if (signal?.aborted === true) giveUp();
    const answer = await answerTo(call, socket).catch((error: unknown) => {
      throw refusedError(socketPath, `did not ${nameOf(request)}: ${(error as Error).message}`, error);
    });
    signal?.throwIfAborted();
    if (answer.line === 'ok' || answer.line.startsWith('ok ')) {
      return { words: answer.line.slice('ok '.length), bytes: answer.bytes };
    }
    throw refusedError(socketPath, `refuses to ${nameOf(request)}: ${quotedText(answer.line)}`);
  } catch (error) {
    signal?.throwIfAborted();
    throw error;
  } finally {
    signal?.removeEventListener('abort', giveUp);
    socket.destroy();
  }
}

interface Answer {
  readonly line: string;
  readonly bytes: Uint8Array;
}

function answerTo({ signal, timeoutMs, maxBytes = 0 }: VmmCall, socket: Socket): Promise<Answer> {
  const answer = readAnswer(socket, maxBytes);
  if (signal !== undefined) return answer;
  return within(answer, timeoutMs, undefined, () => new Error(`no answer within ${timeoutMs} ms`));
}

/** One line, and the bytes that an `ok` announces where there may be some. */
async function readAnswer(socket: AsyncIterable<Buffer>, maxBytes: number): Promise<Answer> {
  let chunks: Buffer[] = [];
  let length = 0;
  let line: string | undefined;
  let announced = 0;
  for await (const chunk of socket) {
    chunks.push(chunk);
    length += chunk.length;
    if (line === undefined) {
      const text = Buffer.concat(chunks);
      const end = text.indexOf(NEWLINE);
      if ((end < 0 ? length : end) > MAX_LINE) throw new Error('the answer is too long');
      if (end < 0) continue;
      line = text.toString('utf8', 0, end);
      announced = maxBytes === 0 ? 0 : announcedBytes(line, maxBytes);
      chunks = [text.subarray(end + 1)];
      length -= end + 1;
    }
    if (length > announced) throw new Error('there is more than one answer');
    if (length === announced) return { line, bytes: Buffer.concat(chunks) };
  }
  throw new Error(
    announced === 0 ? 'the connection ended' : `the connection ended after ${length} of ${announced} bytes`,
  );
}

/** @throws Error for an `ok` without a number of bytes, or with too large a one */
function announcedBytes(line: string, maxBytes: number): number {
  if (!/^ok(?: |$)/.test(line)) return 0;
  const [, digits] = /^ok (\d+)(?: .*)?$/.exec(line) ?? [];
  if (digits === undefined) throw new Error(`it answers ${quotedText(line)}, not "ok LENGTH"`);
  if (Number(digits) <= maxBytes) return Number(digits);
  throw new Error(`it answers with ${digits} bytes; at most ${maxBytes} are accepted`);
}

/** The first word of a request: what follows is its length. */
function nameOf(request: string): string {
  return request.split(' ', 1)[0]!;
}

function refusedError(socketPath: string, problem: string, cause?: unknown): HtabUnavailableError {
  const message = `the VMM at ${socketPath} ${problem}`;
  return new HtabUnavailableError('refused', message, 'see the log of the VMM', { cause });
}
