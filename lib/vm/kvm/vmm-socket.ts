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
 * The protocol, for the author of a VMM: "The VMM's side" in `lib/vm/README.md` of the package.
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
