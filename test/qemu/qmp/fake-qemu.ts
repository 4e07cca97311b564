import { once } from 'node:events';
import { createServer, type Server, type Socket } from 'node:net';
import { createInterface } from 'node:readline';

/** A command as a monitor gets it. */
export interface Asked {
  readonly execute: string;
  readonly arguments: Readonly<Record<string, unknown>>;
  readonly id: unknown;
}

/** What a monitor returns for a command. An error makes it refuse, `SILENT` makes it say nothing. */
export type Answers = Readonly<Record<string, unknown>>;

/** Of a command that is not answered. */
export const SILENT = Symbol('silent');
/** Of a command at which the monitor closes the connection. */
export const CLOSED = Symbol('closed');

export const GREETING = `${JSON.stringify({
  QMP: { version: { qemu: { micro: 2, minor: 0, major: 10 }, package: '' }, capabilities: ['oob'] },
})}\n`;

/** The state that a monitor tells of. */
export interface FakeState {
  status: string;
  migration: Readonly<Record<string, unknown>>;
}

/**
 * A monitor of QEMU that behaves as a test wants it to. `stop`, `cont`, `query-status`, `query-migrate` and `migrate_cancel`
 * act upon its `state`.
 */
export class FakeQemu {
  readonly path: string;
  readonly asked: Asked[] = [];
  readonly state: FakeState = { status: 'running', migration: {} };
  readonly #server: Server;
  readonly #answers: Answers;
  #socket: Socket | undefined;

  private constructor(path: string, answers: Answers, greeting: string | typeof CLOSED) {
    this.path = path;
    this.#answers = answers;
    this.#server = createServer((socket) => {
      this.#socket = socket.on('error', () => undefined);
      if (greeting === CLOSED) {
        socket.destroy();
        return;
      }
      socket.write(greeting);
      const lines = createInterface({ input: socket }).on('line', (line) => {
        this.#take(JSON.parse(line) as Asked);
      });
      // It passes the socket's errors on.
      lines.on('error', () => undefined);
    });
  }

  /** @param greeting what it sends to each connection at once */
  static async start(
    path: string,
    answers: Answers = {},
    greeting: string | typeof CLOSED = GREETING,
  ): Promise<FakeQemu> {
    const qemu = new FakeQemu(path, answers, greeting);
    qemu.#server.listen({ path });
    await once(qemu.#server, 'listening');
    return qemu;
  }

  /** Sends a line, or any text, of its own accord. */
  say(message: object | string): void {
    this.#socket?.write(typeof message === 'string' ? message : `${JSON.stringify(message)}\n`);
  }

  names(): string[] {
    return this.asked.map(({ execute }) => execute);
  }

  close(): void {
    this.#socket?.destroy();
    this.#server.close();
  }

  #take(asked: Asked): void {
    this.asked.push(asked);
    const { execute, id } = asked;
    const given = this.#answers[execute];
    const value: unknown = typeof given === 'function' ? (given as (asked: Asked) => unknown)(asked) : given;
    if (value === SILENT) return;
    if (value === CLOSED) this.#socket?.destroy();
    else if (value instanceof Error) this.say({ error: { class: value.name, desc: value.message }, id });
    else this.say({ return: value ?? this.#act(execute), id });
  }

  #act(execute: string): unknown {
    const { state } = this;
    if (execute === 'stop') state.status = 'paused';
    if (execute === 'cont') state.status = 'running';
    if (execute === 'migrate_cancel') state.migration = { status: 'cancelled' };
    if (execute === 'query-status') return { status: state.status, running: state.status === 'running' };
    return execute === 'query-migrate' ? state.migration : {};
  }
}

/** An error of QMP, for {@link Answers}. */
export function qmpError(errorClass: string, text: string): Error {
  return Object.assign(new Error(text), { name: errorClass });
}
