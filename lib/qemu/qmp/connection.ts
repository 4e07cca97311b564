import type { Socket } from 'node:net';
import { checkFunction, checkObject, checkString, invalidTypeError } from '../../base/arguments.js';
import { connected } from '../../base/connected.js';
import { HtabUnavailableError } from '../../base/errors.js';
import { foreignText } from '../../base/foreign-text.js';
import { within } from '../../base/time.js';
import { Lines, parseMessage, type QmpEvent, type QmpMessage } from './messages.js';
import { checkQmpArguments, type QmpOptions } from './qmp-options.js';

const ONE_CLIENT =
  'a monitor serves one client at a time, and libvirt keeps its own: give QEMU another one (-qmp unix:PATH,server=on,wait=off)';
const SEE_LOG = "see the log of QEMU, and that the path is its monitor's";

interface Waiting {
  readonly command: string;
  readonly resolve: (value: unknown) => void;
  readonly reject: (error: Error) => void;
}

/**
 * Connects to a monitor of QEMU (QMP) at a Unix socket and makes it ready for commands.
 *
 * @param path of the socket: what QEMU was given as `-qmp unix:PATH,server=on,wait=off`
 * @throws HtabSystemError if the connection fails, ETIMEDOUT if it takes too long
 * @throws HtabUnavailableError `refused` if nothing greets in time, as where the monitor has another client, or what does
 *   is no QMP
 * @throws TypeError, RangeError for an invalid path or option; the signal's reason
 *
 * @example
 * using qmp = await connectQmp('/run/qemu/guest.qmp');
 * const { status } = await qmp.execute<{ status: string }>('query-status');
 */
export async function connectQmp(path: string, options: QmpOptions = {}): Promise<QmpConnection> {
  const { timeoutMs } = checkQmpArguments(path, options);
  const { signal } = options;
  signal?.throwIfAborted();
  // Not with this module: a program that imports kvm-htab may never need node:net.
  const { connect } = await import('node:net');
  const socket = connect({ path });
  const connection = new QmpConnection(path, socket, timeoutMs);
  try {
    await connected(socket, { operation: `connect to the QMP monitor at ${path}`, timeoutMs, signal });
    await connection.begin(signal);
    return connection;
  } catch (error) {
    connection.close();
    throw error;
  }
}

/** @throws TypeError (`ERR_INVALID_ARG_TYPE`) */
export function checkConnection(connection: unknown): void {
  if (connection instanceof QmpConnection) return;
  throw invalidTypeError('connection', 'a QmpConnection (connectQmp gives one)', connection);
}

/** A connection to a monitor of QEMU. Commands are answered in the order in which they were made. */
export class QmpConnection implements Disposable {
  /** Of the monitor's socket. */
  readonly path: string;
  readonly #socket: Socket;
  readonly #timeoutMs: number;
  readonly #lines = new Lines();
  readonly #waiting = new Map<number, Waiting>();
  readonly #listeners = new Set<(event: QmpEvent) => void>();
  readonly #greeting: Promise<unknown>;
  #version = '';
  #lastId = 0;
  readonly #ended = new AbortController();
  #problem: string | undefined;

  /** @internal */
  constructor(path: string, socket: Socket, timeoutMs: number) {
    this.path = path;
    this.#socket = socket;
    this.#timeoutMs = timeoutMs;
    this.#greeting = this.#await(0, 'greet');
    socket.on('data', this.#onData);
    socket.on('error', (error) => {
      this.#end(`the connection failed: ${error.message}`);
    });
    socket.on('close', () => {
      this.#end('the connection ended');
    });
  }

  /** Of QEMU, as `10.0.2`. */
  get version(): string {
    return this.#version;
  }

  /** Aborted once the connection has ended, whatever ended it, with the reason. */
  get ended(): AbortSignal {
    return this.#ended.signal;
  }

  /**
   * Executes a command. A late answer is thrown away; the commands after it are answered nevertheless.
   *
   * @param command such as `query-status`
   * @param args its arguments, by name
   * @returns what QEMU returns; nothing checks that it has the type named
   * @throws HtabUnavailableError `refused`: QEMU refuses the command, does not answer in time, or the connection has ended
   */
  async execute<Answer = unknown>(command: string, args: object = {}): Promise<Answer> {
    checkString('command', command);
    checkObject('args', args);
    if (this.#problem !== undefined) throw this.#failure(command, this.#problem, SEE_LOG);
    const id = ++this.#lastId;
    const answer = this.#await(id, command);
    this.#socket.write(`${JSON.stringify({ execute: command, arguments: args, id })}\n`);
    const late = (): Error => this.#failure(command, `no answer within ${this.#timeoutMs} ms`, SEE_LOG);
    return (await within(answer, this.#timeoutMs, undefined, late)) as Answer;
  }

  /**
   * Listens to QEMU's events until the result is disposed of.
   *
   * @throws TypeError (`ERR_INVALID_ARG_TYPE`)
   */
  onEvent(listener: (event: QmpEvent) => void): Disposable {
    checkFunction('listener', listener);
    this.#listeners.add(listener);
    return {
      [Symbol.dispose]: () => {
        this.#listeners.delete(listener);
      },
    };
  }

  /** Disconnects; the guest stays as it is, and calls that wait reject. */
  close(): void {
    this.#end('it was closed here');
  }

  [Symbol.dispose](): void {
    this.close();
  }

  /** @internal Waits for the greeting, and leaves the mode in which a monitor takes no other command. */
  async begin(signal: AbortSignal | undefined): Promise<void> {
    const late = (): Error => this.#failure('greet', `no word within ${this.#timeoutMs} ms`, ONE_CLIENT);
    await within(this.#greeting, this.#timeoutMs, signal, late);
    await this.execute('qmp_capabilities');
  }

  readonly #onData = (chunk: Buffer): void => {
    try {
      for (const line of this.#lines.push(chunk)) this.#take(parseMessage(line));
    } catch (error) {
      this.#end((error as Error).message);
    }
  };

  #take(message: QmpMessage): void {
    if (message.kind === 'event') {
      for (const listener of this.#listeners) {
        // What a listener throws is not this connection's failure.
        queueMicrotask(() => {
          listener(message.event);
        });
      }
      return;
    }
    const id = message.kind === 'greeting' ? 0 : message.id;
    const waiting = this.#waiting.get(id as number);
    if (waiting === undefined) {
      const said = message.kind === 'error' ? `: ${foreignText(message.text)}` : '';
      throw new Error(`it answered what was not asked${said}`);
    }
    this.#waiting.delete(id as number);
    if (message.kind === 'greeting') this.#version = message.version;
    if (message.kind === 'error') waiting.reject(this.#refusal(waiting.command, message));
    else waiting.resolve(message.kind === 'answer' ? message.value : undefined);
  }

  #await(id: number, command: string): Promise<unknown> {
    const answer = new Promise((resolve, reject) => this.#waiting.set(id, { command, resolve, reject }));
    // Of a call that was given up nothing waits for the answer.
    answer.catch(() => undefined);
    return answer;
  }

  #end(problem: string): void {
    if (this.#problem !== undefined) return;
    this.#problem = problem;
    this.#socket.destroy();
    this.#ended.abort(this.#failure('any more', problem, SEE_LOG));
    for (const { command, reject } of this.#waiting.values()) {
      reject(this.#failure(command, problem, SEE_LOG));
    }
    this.#waiting.clear();
  }

  #failure(command: string, problem: string, hint: string): HtabUnavailableError {
    const did = command === 'greet' ? 'did not greet' : `did not answer ${command}`;
    return new HtabUnavailableError('refused', `the QEMU at ${this.path} ${did}: ${problem}`, hint);
  }

  #refusal(command: string, error: { readonly errorClass: string; readonly text: string }): Error {
    const [errorClass, text] = [foreignText(error.errorClass), foreignText(error.text)];
    const unknown = errorClass === 'CommandNotFound';
    return new HtabUnavailableError(
      'refused',
      `the QEMU at ${this.path} refuses ${command}: ${text.replace(/\.$/, '')} (${errorClass})`,
      unknown ? `QEMU ${this.#version} is too old for it` : 'see what it asks for, and the log of QEMU',
    );
  }
}
