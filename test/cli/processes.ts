import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { onTestFinished } from 'vitest';

export const MAIN = 'dist/bundle/main.js';

/**
 * Why no command can be run as a process of its own; undefined if it can. `npm test` compiles first; where CI demands
 * all that has to be built, it is a failure.
 */
export const notCompiled = existsSync(MAIN) ? undefined : missing();

function missing(): string {
  const reason = `${MAIN} is not there: npm run compile`;
  if (process.env['KVM_HTAB_REQUIRE_NATIVE'] === '1') throw new Error(reason);
  process.stderr.write(`skipping what runs the command: ${reason}\n`);
  return reason;
}

/** What a command prints with --json. */
export interface CommandEvent {
  readonly event: string;
  readonly [field: string]: unknown;
}

/** How a command has ended. */
export interface Ended {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly events: readonly CommandEvent[];
  readonly stderr: string;
  /** The `done` event, which is the report. */
  readonly done: CommandEvent | undefined;
}

/** `kvm-htab` in a process of its own, with --json. */
export class CommandProcess {
  readonly ended: Promise<Ended>;
  readonly #child: ChildProcess;
  readonly #events: CommandEvent[] = [];
  #stderr = '';
  /** Of those who wait for an event. */
  #wakes: (() => void)[] = [];
  #closed = false;

  /**
   * @param shell a line for /bin/sh that runs the command with `exec "$@"`; default: no shell
   * @param inherited descriptors it finds open, from number 3 on
   */
  constructor(
    args: readonly string[],
    { shell, inherited = [] }: { shell?: string; inherited?: readonly number[] } = {},
  ) {
    const command = [process.execPath, MAIN, ...args, '--json'];
    const [file, ...rest] = shell === undefined ? command : ['/bin/sh', '-c', shell, 'sh', ...command];
    this.#child = spawn(file!, rest, { stdio: ['ignore', 'pipe', 'pipe', ...inherited] });
    this.#child.stderr!.on('data', (chunk: Buffer) => (this.#stderr += chunk.toString()));
    createInterface({ input: this.#child.stdout! }).on('line', (line) => {
      this.#events.push(JSON.parse(line) as CommandEvent);
      this.#wake();
    });
    this.ended = once(this.#child, 'close').then(([code, signal]: unknown[]) => {
      this.#closed = true;
      this.#wake();
      const done = this.#events.find(({ event }) => event === 'done');
      return {
        code: code as number | null,
        signal: signal as NodeJS.Signals | null,
        events: this.#events,
        stderr: this.#stderr,
        done,
      };
    });
    onTestFinished(() => {
      this.kill('SIGKILL');
    });
  }

  #wake(): void {
    for (const wake of this.#wakes.splice(0)) wake();
  }

  get pid(): number {
    return this.#child.pid!;
  }

  kill(signal: NodeJS.Signals): void {
    this.#child.kill(signal);
  }

  /** Waits for the first event of this name, with these fields. */
  async event(name: string, fields: Readonly<Record<string, unknown>> = {}): Promise<CommandEvent> {
    const wanted = (event: CommandEvent): boolean =>
      event.event === name && Object.entries(fields).every(([key, value]) => event[key] === value);
    for (;;) {
      const found = this.#events.find(wanted);
      if (found !== undefined) return found;
      if (this.#closed) throw new Error(`the command ended without "${name}": ${this.#stderr}`);
      await new Promise<void>((resolve) => this.#wakes.push(resolve));
    }
  }
}

/** A `kvm-htab receive` that listens, and where. */
export async function startReceive(
  address: string,
  ...args: string[]
): Promise<{ receiver: CommandProcess; address: string }> {
  const receiver = new CommandProcess(['receive', address, ...args]);
  const listening = await receiver.event('listening');
  return { receiver, address: String(listening['address']) };
}

export function startSend(address: string, ...args: string[]): CommandProcess {
  return new CommandProcess(['send', address, ...args]);
}
