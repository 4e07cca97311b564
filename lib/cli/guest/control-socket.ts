import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { setImmediate } from 'node:timers/promises';
import { HtabSystemError, HtabUnavailableError } from '../../errors.js';
import { systemCall, type Hints } from '../../node/system-call.js';
import type { ControlledGuest } from './controlled-guest.js';

/** Longest answer read; a VMM that says more is not one that speaks this protocol. */
const MAX_ANSWER = 4096;

const MORE_ANSWERS = 'there is more than one answer';

/** What usually stands behind a connection that is refused. */
const HINTS: Hints = {
  ENOENT: 'no VMM listens there: does it run, and is this the path of its control socket?',
  ECONNREFUSED: 'nobody listens there: does the VMM still run, and is this its control socket?',
  EACCES: "the socket is not writable for this user: run as the VMM's, or join its group",
  ENOTSOCK: "this is no socket: give the path of the VMM's control socket",
  EAGAIN: 'the VMM takes no connection: does it stand still?',
};

/**
 * The control socket of a VMM: a Unix socket at which it listens, for agents of its own user. Text, one line a request
 * and one line an answer; a client may send any number of requests, and several clients may be connected. What comes over one
 * connection is done and answered in turn: a client that has waited long enough for the answer to `pause` sends `resume`
 * behind it, and takes the guest to run once both are answered.
 *
 * | request        | answer                                                                                     |
 * |----------------|--------------------------------------------------------------------------------------------|
 * | `open-read`    | `ok ORDER`, with a fresh HTAB read descriptor (SCM_RIGHTS) of the VM the guest runs in      |
 * | `open-write`   | `ok ORDER`, with a write descriptor of the VM the guest is to come to, which has run no vcpu |
 * | `open-read-next` | `ok ORDER`, with a read descriptor of that VM                                            |
 * | `pause`        | `ok`, once no vcpu runs any more                                                           |
 * | `resume`       | `ok`                                                                                       |
 * | `throttle N`   | `ok`; N from 1 on is slower each time, 0 is full speed                                     |
 *
 * ORDER is log2 of the table's bytes. Words after it, or after an `ok`, are for people. `pause` and `resume` of a guest that
 * is paused, or runs, are `ok`. Any other answer is a refusal, and its text says why: `error no such VM`.
 *
 * If the client that said `pause` is gone without a `resume`, its process has died, or has ended in doubt: the guest must
 * stay stopped until `kvm-htab resolve` has said where it is.
 */
export class ControlSocket implements ControlledGuest {
  readonly #path: string;
  readonly #timeoutMs: number;
  #socket: Socket | undefined;
  /** Requests over it whose answers have not come. */
  #unanswered = 0;

  /**
   * Connects, so that a VMM that is not there is noticed before anything begins.
   *
   * @param timeoutMs longest time for one answer
   * @throws HtabSystemError if nobody takes the connection, ETIMEDOUT if that takes too long
   */
  static async open(path: string, timeoutMs: number): Promise<ControlSocket> {
    const control = new ControlSocket(path, timeoutMs);
    const signal = AbortSignal.timeout(timeoutMs);
    const operation = `connect to the VMM at ${path}`;
    try {
      await systemCall(operation, control.#connect(signal), HINTS);
      return control;
    } catch (error) {
      control.close();
      if (!signal.aborted) throw error;
      throw new HtabSystemError('connect', 'ETIMEDOUT', { operation, cause: error });
    }
  }

  private constructor(path: string, timeoutMs: number) {
    this.#path = path;
    this.#timeoutMs = timeoutMs;
  }

  async pause(): Promise<void> {
    await this.#ask('pause');
  }

  async resume(): Promise<void> {
    await this.#forgetAnswers();
    await this.#ask('resume');
  }

  readonly throttle = async (step: number): Promise<void> => {
    if (step === 0) await this.#forgetAnswers();
    await this.#ask(`throttle ${step}`);
  };

  close(): void {
    this.#socket?.destroy();
  }

  /**
   * One line there and one back. Whatever fails, the next request begins with a connection of its own; but for an answer
   * that did not come: over another connection a `resume` could be done before the `pause` that goes on, and the guest
   * would stand still for good.
   *
   * @throws HtabUnavailableError if the VMM refuses, or cannot be understood
   */
  async #ask(request: string): Promise<void> {
    const signal = AbortSignal.timeout(this.#timeoutMs);
    let answer: string;
    try {
      await readArrived();
      const socket = await this.#connect(signal);
      // It would be taken for the answer to this request, which nobody has given.
      if (!this.#catchUp(socket)) throw new Error(MORE_ANSWERS);
      this.#unanswered++;
      socket.write(`${request}\n`);
      answer = await readLastAnswer(socket, this.#unanswered, signal);
      this.#unanswered = 0;
    } catch (error) {
      // Of two that are missing, one may have come: then nobody knows any more which the next one is.
      if (!signal.aborted || this.#unanswered !== 1) this.#socket?.destroy();
      const problem = signal.aborted ? `no answer within ${this.#timeoutMs} ms` : (error as Error).message;
      throw this.#refused(`did not ${request}: ${problem}`, error);
    }
    if (answer === 'ok' || answer.startsWith('ok ')) return;
    throw this.#refused(`refuses to ${request}: ${JSON.stringify(answer)}`);
  }

  /**
   * Drops a connection over which more has come than was asked for: a guest is not left stopped, or slow, because its VMM
   * has said too much before.
   */
  async #forgetAnswers(): Promise<void> {
    await readArrived();
    if (this.#socket !== undefined && !this.#catchUp(this.#socket)) this.#socket.destroy();
  }

  /**
   * Takes an answer that has come late.
   *
   * @returns false if more has come than was asked for
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
    return new HtabUnavailableError('refused', message, 'ask whoever runs the VMM', { cause });
  }

  async #connect(signal: AbortSignal): Promise<Socket> {
    if (this.#socket?.writable === true) return this.#socket;
    const socket = connect({ path: this.#path });
    // What happens to it between two requests shows in the next one.
    socket.on('error', () => undefined);
    this.#socket = socket;
    this.#unanswered = 0;
    await once(socket, 'connect', { signal });
    return socket;
  }
}

/** Lets node read what has arrived: between the two turns it asks the system for it once, wherever in a turn this begins. */
async function readArrived(): Promise<void> {
  await setImmediate();
  await setImmediate();
}

/** The answer to the last of these requests; those before it have been given up. */
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
