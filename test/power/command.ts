import { spawn, type ChildProcess } from 'node:child_process';
import { EventEmitter, once } from 'node:events';
import { createInterface } from 'node:readline';
import { text } from 'node:stream/consumers';

/** One line of what a command tells with --json. */
export type CommandEvent = Readonly<Record<string, unknown>>;

/** How a command ended: its exit code, or the signal that ended it. */
export type CommandEnd = number | NodeJS.Signals;

const MAIN = 'lib/cli/main.js';
/** The emulated processor takes four times as long for AES. */
const FAST_TLS = '--tls-cipher-list=TLS_CHACHA20_POLY1305_SHA256';

/** A `kvm-htab` command in a process of its own. */
export class Command implements AsyncDisposable {
  /** What it has told so far. */
  readonly events: CommandEvent[] = [];
  /** Resolves once it has ended, and everything it has said is here. */
  readonly ended: Promise<CommandEnd>;
  readonly #child: ChildProcess;
  readonly #changes = new EventEmitter();
  readonly #commandLine: string;
  #end: CommandEnd | undefined;
  #errors = '';

  private constructor(commandLine: readonly string[], signal: AbortSignal) {
    const [program = '', ...rest] = commandLine;
    this.#commandLine = rest.join(' ');
    // In a process group of its own, so that what was started by another program ends with that.
    const child = spawn(program, rest, { stdio: ['pipe', 'pipe', 'pipe'], detached: true });
    this.#child = child;
    child.stdin.on('error', () => undefined);
    createInterface({ input: child.stdout }).on('line', (line) => {
      this.events.push(JSON.parse(line) as CommandEvent);
      this.#changes.emit('change');
    });
    this.ended = this.#watch(text(child.stderr));
    const kill = (): void => void this.kill();
    signal.addEventListener('abort', kill);
    child.once('close', () => {
      signal.removeEventListener('abort', kill);
    });
  }

  /**
   * @param args its command line: with --json, or saying nothing
   * @param signal of the test: nothing outlives it
   */
  static start(args: readonly string[], signal: AbortSignal): Command {
    return new Command([process.execPath, MAIN, ...args], signal);
  }

  /** Starts another program of this project, which speaks as the commands do. */
  static startProgram(program: string, args: readonly string[], signal: AbortSignal): Command {
    return new Command([process.execPath, FAST_TLS, program, ...args], signal);
  }

  /** Starts it, and holds it back, once it has told `held`, until {@link goOn}. */
  static startHeld(args: readonly string[], signal: AbortSignal): Command {
    return new Command([process.execPath, '--import', './test/power/hold.js', MAIN, ...args], signal);
  }

  /** Starts it by vmm/launcher.c, of whose VM it inherits the descriptors. */
  static startInheriting(args: readonly string[], signal: AbortSignal): Command {
    return new Command(['bin/launcher', process.execPath, MAIN, ...args], signal);
  }

  goOn(): void {
    this.#child.stdin?.end('\n');
  }

  /**
   * Waits for something it tells, or has told.
   *
   * @param wanted fields, and what is in them
   * @throws Error if it ends without
   */
  async told(wanted: CommandEvent): Promise<CommandEvent> {
    const fields = Object.entries(wanted);
    for (let at = 0; ; at++) {
      while (at === this.events.length) {
        if (this.#end !== undefined) throw this.#failure(`never told ${JSON.stringify(wanted)}`);
        await once(this.#changes, 'change');
      }
      const event = this.events[at]!;
      if (fields.every(([name, value]) => event[name] === value)) return event;
    }
  }

  /** Waits for its end. @throws Error, with all it has said, if that is another one */
  async mustEnd(wanted: CommandEnd): Promise<void> {
    if ((await this.ended) !== wanted) throw this.#failure(`did not end with ${wanted}`);
  }

  /** Ends it at once, as a crash would, unless it has ended. */
  async kill(): Promise<CommandEnd> {
    const { pid, exitCode, signalCode } = this.#child;
    if (pid !== undefined && exitCode === null && signalCode === null) process.kill(-pid, 'SIGKILL');
    return this.ended;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.kill();
  }

  async #watch(errors: Promise<string>): Promise<CommandEnd> {
    const [code, signal] = (await once(this.#child, 'close')) as [number | null, NodeJS.Signals];
    this.#errors = await errors;
    this.#end = code ?? signal;
    this.#changes.emit('change');
    return this.#end;
  }

  #failure(what: string): Error {
    const told = this.events.map((event) => `${JSON.stringify(event)}\n`).join('');
    return new Error(`${this.#commandLine} ${what}, ended with ${this.#end}\n${told}${this.#errors}`);
  }
}
