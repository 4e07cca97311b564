import { fork, type ChildProcess } from 'node:child_process';
import { on, once } from 'node:events';
import { fileURLToPath } from 'node:url';
import type { Request, Told } from './messages.js';

type ToldOf<Key extends string> = Extract<Told, Readonly<Record<Key, unknown>>>;

/** What the destination has told of one migration. */
export interface Arrival {
  digest?: string;
  later?: string;
  failed?: ToldOf<'failed'>;
}

/** The host that guests are moved to: a process that can be killed, and is started again then. */
export class Host implements AsyncDisposable {
  readonly arrivals = new Map<string, Arrival>();
  #port = 0;
  #child!: ChildProcess;
  #starting: Promise<void>;
  readonly #journal: string;
  readonly #waiting = new Set<() => void>();
  #lives = 0;
  /** Of the process that runs. */
  #gone!: Promise<unknown>;
  #isKilled = false;
  /** Why there is no process, though this one has not killed it. */
  #failure: Error | undefined;

  private constructor(journal: string) {
    this.#journal = journal;
    this.#starting = this.#start();
  }

  static async start(journal: string): Promise<Host> {
    const host = new Host(journal);
    await host.#starting;
    return host;
  }

  get address(): string {
    return `tcp://127.0.0.1:${this.#port}`;
  }

  get pid(): number {
    return this.#child.pid!;
  }

  /** Grows by one when the process is killed. */
  get lives(): number {
    return this.#lives;
  }

  tell(request: Request): void {
    // A dead one hears nothing.
    if (this.#child.connected) this.#child.send(request);
  }

  /** Resolves once the process listens. */
  ready(): Promise<void> {
    return this.#starting;
  }

  async collect(): Promise<void> {
    await this.#starting;
    this.tell('collect');
    await this.#told((told): told is ToldOf<'collected'> => 'collected' in told);
  }

  /** Waits until the process has told how the migration ended there, or is dead. */
  async ended(id: string, life: number): Promise<Arrival> {
    const arrival = this.arrivals.get(id) ?? {};
    while (this.#lives === life && arrival.later === undefined && arrival.failed === undefined) {
      if (this.#failure !== undefined) throw this.#failure;
      await new Promise<void>((resolve) => this.#waiting.add(resolve));
    }
    return arrival;
  }

  /** Kills the process, and starts another one at the same port. */
  kill(): void {
    this.#starting = this.#end().then(() => {
      this.#lives++;
      this.#wake();
      return this.#start();
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#starting;
    await this.#end();
  }

  /** Kills the process. Afterwards all that it has told is here. */
  async #end(): Promise<void> {
    this.#isKilled = true;
    this.#child.kill('SIGKILL');
    await this.#gone;
  }

  async #start(): Promise<void> {
    const program = fileURLToPath(new URL('destination.js', import.meta.url));
    const child = fork(program, [String(this.#port), this.#journal]);
    this.#child = child;
    this.#isKilled = false;
    child.on('message', (told: Told) => {
      this.#take(told);
    });
    this.#gone = Promise.all([once(child, 'exit'), once(child, 'disconnect')]).then(([[status]]) => {
      if (this.#isKilled) return;
      this.#failure = new Error(`the destination ended by itself, with ${String(status)}`);
      this.#wake();
    });
    const { listening } = await this.#told((told): told is ToldOf<'listening'> => 'listening' in told);
    this.#port = listening;
  }

  #take(told: Told): void {
    if (!('id' in told)) return;
    const arrival = this.arrivals.get(told.id);
    // The soak has done with it.
    if (arrival === undefined) return;
    if ('failed' in told) arrival.failed = told;
    else Object.assign(arrival, told);
    this.#wake();
  }

  #wake(): void {
    for (const resolve of this.#waiting) resolve();
    this.#waiting.clear();
  }

  async #told<T extends Told>(isWanted: (told: Told) => told is T): Promise<T> {
    const child = this.#child;
    const messages = on(child, 'message', { close: ['exit'] });
    for await (const [told] of messages as AsyncIterable<[Told]>) if (isWanted(told)) return told;
    throw new Error('the destination ended before it answered');
  }
}
