import { once } from 'node:events';
import type { connect, Socket } from 'node:net';
import { setImmediate } from 'node:timers/promises';
import { checkPath } from '../../base/arguments.js';
import { connected } from '../../base/connected.js';
import { HtabUnavailableError } from '../../base/errors.js';
import { checkOptions, numbersOf, type OptionTable } from '../../base/options.js';
import { quotedText } from '../../base/foreign-text.js';
import { MAX_MS } from '../../base/time.js';

/** Longest answer, in bytes. */
const MAX_ANSWER = 4096;

const MORE_ANSWERS = 'there is more than one answer';

/** How long a {@link VmmSocket} waits. */
export interface VmmSocketOptions {
  /** Longest time to connect, and longest time for one answer, in ms, 1..2^31 - 1. Default 30,000. */
  readonly timeoutMs?: number | undefined;
}

export const VMM_SOCKET_OPTIONS = {
  timeoutMs: {
    ...{ min: 1, max: MAX_MS, default: 30_000, unit: 'ms' },
    doc: 'longest time to connect, and longest time for one answer',
  },
} as const satisfies OptionTable<VmmSocketOptions>;

/**
 * The client of a VMM's control socket: it pauses, resumes and slows down the guest. Its functions are bound, and are what
 * {@link sendHpt} and {@link saveSnapshot} take as `pause`, `resume` and `throttle`. {@link requestSource} and
 * {@link requestTarget} ask for tables over the same socket, {@link requestSourceRest} and {@link requestDestinationRest} for
 * all else of a guest.
 *
 * The protocol: the VMM listens at a Unix socket for agents of its own user. A request is a line of text, an answer is a
 * line of text. A client may send any number of requests, and several clients may be connected. The VMM performs and
 * answers the requests of one connection in order: a client that gives up waiting for the answer to `pause` sends `resume`
 * after it, and takes the guest to run once both are answered.
 *
 * | request        | answer                                                                                     |
 * |----------------|--------------------------------------------------------------------------------------------|
 * | `open-read`    | `ok ORDER`, with a fresh HTAB read descriptor (SCM_RIGHTS) of the VM the guest runs in      |
 * | `open-read N`  | the same, from entry N on (`start_index`). A VMM may refuse it, at the cost of stop time     |
 * | `open-write`   | `ok ORDER`, with a write descriptor of the VM the guest moves to, which has run no vcpu    |
 * | `open-read-next` | `ok ORDER`, with a read descriptor of that VM                                            |
 * | `pause`        | `ok`, once no vcpu runs                                                                    |
 * | `resume`       | `ok`                                                                                       |
 * | `throttle N`   | `ok`; N from 1 on is slower each time, 0 is full speed                                     |
 * | `rest-ms`      | `ok MS`: how long the guest would stand still for its memory and devices if it were stopped now; `ok far` while they are far from done |
 * | `finish`       | `ok LENGTH`, with so many bytes of state after the line, once memory and devices are at the destination; at most 16 MiB |
 * | `can-accept`   | `ok`; nothing is done                                                                      |
 * | `accept LENGTH` | `ok`, once the guest is whole in the VM that it moves to. So many bytes of state follow the request's line |
 * | `discard`      | `ok`; what has come of the guest is thrown away. A guest that runs is left alone            |
 * | `run`          | `ok`; the guest runs in that VM                                                            |
 *
 * Those from `rest-ms` on come over a connection each. If its client shuts it down (end of file, POLLRDHUP) before the answer,
 * nothing waits for it any more: the VMM ends `finish` or `accept` soon, puts nothing in its place any more, and closes the
 * connection; the next `finish` or `accept` comes after that. `resume` may come before: then the guest runs on. A VMM that
 * refuses `rest-ms` moves its table alone, one that refuses `can-accept` takes a table alone.
 *
 * ORDER is log2 of the table's bytes. Words after it, after MS and LENGTH, or after an `ok`, are for people. `pause` of a
 * paused guest and `resume` of a running one are `ok`. Any other answer is a refusal, and its text says why: `error no such VM`.
 *
 * If a client that sent `pause` disconnects without a `resume`, its process has died, or has ended in doubt: the guest must
 * stay stopped until `kvm-htab resolve` says where it is. If a client that sent `accept` sends neither `run` nor `discard`,
 * the guest must not run there until the destination's journal says that it has come.
 *
 * @example
 * using vmm = await VmmSocket.open('/run/vmm/a.sock');
 * const { pause, resume, throttle } = vmm;
 * await sendHpt(await requestSource('/run/vmm/a.sock'), dial, { pause, resume, throttle, journal });
 */
export class VmmSocket implements Disposable {
  readonly #connectNet: typeof connect;
  readonly #path: string;
  readonly #timeoutMs: number;
  #socket: Socket | undefined;
  /** Requests sent over it whose answers have not come. */
  #unanswered = 0;

  /**
   * Connects. A later request connects again if that connection has broken.
   *
   * @param socketPath path of the VMM's Unix socket
   * @throws HtabSystemError if the connection is refused, ETIMEDOUT if it takes too long
   * @throws TypeError, RangeError for an invalid path or option
   */
  static async open(socketPath: string, options: VmmSocketOptions = {}): Promise<VmmSocket> {
    checkPath('socketPath', socketPath);
    checkOptions(options, VMM_SOCKET_OPTIONS);
    const { timeoutMs } = numbersOf(VMM_SOCKET_OPTIONS, options);
    // Not with this module: a program that imports kvm-htab may never need node:net.
    const net = await import('node:net');
    const control = new VmmSocket(net.connect, socketPath, timeoutMs);
    try {
      await connected(control.#open(), { operation: `connect to the VMM at ${socketPath}`, timeoutMs });
      return control;
    } catch (error) {
      control.close();
      throw error;
    }
  }

  private constructor(connectNet: typeof connect, path: string, timeoutMs: number) {
    this.#connectNet = connectNet;
    this.#path = path;
    this.#timeoutMs = timeoutMs;
  }

  /**
   * Stops the guest; resolves when no vcpu runs.
   *
   * @throws HtabUnavailableError `refused` if the VMM refuses, or does not answer in time
   */
  readonly pause = async (): Promise<void> => {
    await this.#ask('pause');
  };

  /**
   * Lets the guest run.
   *
   * @throws as {@link pause}
   */
  readonly resume = async (): Promise<void> => {
    await this.#forgetAnswers();
    await this.#ask('resume');
  };

  /**
   * Slows the guest down.
   *
   * @param step slower with each step from 1 on; 0 is full speed
   * @throws as {@link pause}
   */
  readonly throttle = async (step: number): Promise<void> => {
    if (step === 0) await this.#forgetAnswers();
    await this.#ask(`throttle ${step}`);
  };

  /** Disconnects; the guest stays as it is. */
  close(): void {
    this.#socket?.destroy();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  /**
   * Sends a request and reads its answer. After a failure the next request uses a new connection, unless the answer was
   * late: over another connection the VMM could perform a `resume` before the `pause` that still goes on, and the guest
   * would stay stopped for good.
   *
   * @throws HtabUnavailableError if the VMM refuses, or its answer is not one
   */
  async #ask(request: string): Promise<void> {
    const signal = AbortSignal.timeout(this.#timeoutMs);
    let answer: string;
    try {
      await readArrived();
      const socket = await this.#connect(signal);
      // A surplus answer would be taken for the answer to this request.
      if (!this.#catchUp(socket)) throw new Error(MORE_ANSWERS);
      this.#unanswered++;
      socket.write(`${request}\n`);
      answer = await readLastAnswer(socket, this.#unanswered, signal);
      this.#unanswered = 0;
    } catch (error) {
      // If two were missing and one has come, the next answer cannot be told apart.
      if (!signal.aborted || this.#unanswered !== 1) this.#socket?.destroy();
      const problem = signal.aborted ? `no answer within ${this.#timeoutMs} ms` : (error as Error).message;
      throw this.#refused(`did not ${request}: ${problem}`, error);
    }
    if (answer === 'ok' || answer.startsWith('ok ')) return;
    throw this.#refused(`refuses to ${request}: ${quotedText(answer)}`);
  }

  /** Drops a connection with surplus answers: they must not keep a guest stopped or slow. */
  async #forgetAnswers(): Promise<void> {
    await readArrived();
    if (this.#socket !== undefined && !this.#catchUp(this.#socket)) this.#socket.destroy();
  }

  /**
   * Takes a late answer.
   *
   * @returns false if there are more answers than requests
   */
  #catchUp(socket: Socket): boolean {
    const arrived = String(socket.read() ?? '');
    if (arrived === '') return true;
    if (this.#unanswered === 0 || arrived.slice(0, -1).includes('\n')) return false;
    if (arrived.endsWith('\n')) this.#unanswered = 0;
    return true;
  }

  #refused(problem: string, cause?: unknown): HtabUnavailableError {
    const message = `the VMM at ${this.#path} ${problem}`;
    return new HtabUnavailableError('refused', message, 'see the log of the VMM', { cause });
  }

  async #connect(signal: AbortSignal): Promise<Socket> {
    if (this.#socket?.writable === true) return this.#socket;
    const socket = this.#open();
    await once(socket, 'connect', { signal });
    return socket;
  }

  /** A new connection, which is not there yet. */
  #open(): Socket {
    const socket = this.#connectNet({ path: this.#path });
    // A failure between two requests shows in the next one.
    socket.on('error', () => undefined);
    this.#socket = socket;
    this.#unanswered = 0;
    return socket;
  }
}

/** Lets Node read what has arrived: it polls the system once between the two turns, wherever in a turn this begins. */
async function readArrived(): Promise<void> {
  await setImmediate();
  await setImmediate();
}

/** The answer to the last of these requests; the client has given up waiting for those before it. */
async function readLastAnswer(socket: Socket, requests: number, signal: AbortSignal): Promise<string> {
  let text = '';
  let lines = [text];
  while (lines.length <= requests) {
    const chunk = socket.read() as Buffer | null;
    if (chunk !== null) text += chunk.toString();
    else if (socket.readableEnded || socket.destroyed) throw new Error('the connection ended');
    else await once(socket, 'readable', { signal });
    if (text.length > MAX_ANSWER * requests) throw new Error('the answer is too long');
    lines = text.split('\n');
  }
  const [answer, ...more] = lines.slice(requests - 1) as [string, ...string[]];
  if (more.join('\n') !== '') throw new Error(MORE_ANSWERS);
  return answer;
}
