import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface, type Interface } from 'node:readline';

/** A VMM of test/power/vmm in a process of its own, and the lines spoken with it. */
export class Vmm implements AsyncDisposable {
  /** The Unix socket at which it takes requests, also for descriptors. */
  readonly socketPath: string;
  readonly pid: number;
  readonly #child: ChildProcess;
  readonly #socket: Socket;
  readonly #answers: AsyncIterator<string>;

  private constructor(socketPath: string, child: ChildProcess, socket: Socket, lines: Interface) {
    this.socketPath = socketPath;
    this.pid = child.pid ?? -1;
    this.#child = child;
    this.#socket = socket;
    this.#answers = lines[Symbol.asyncIterator]();
  }

  /**
   * @param program a program in bin/ whose first argument is the socket's path
   * @param args its other arguments
   */
  static async start(program: string, args: readonly (string | number)[] = []): Promise<Vmm> {
    const socketPath = join(mkdtempSync(join(tmpdir(), 'vmm-')), 'control');
    const child = spawn(join('bin', program), [socketPath, ...args.map(String)], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    const ended = once(child, 'exit').then(([status]) => {
      throw new Error(`${program} ended with ${String(status)} before it listened`);
    });
    await Promise.race([once(child.stdout, 'data'), ended]);
    const socket = connect(socketPath);
    await once(socket, 'connect');
    return new Vmm(socketPath, child, socket, createInterface({ input: socket }));
  }

  /** @returns the line it answers */
  async ask(request: string): Promise<string> {
    this.#socket.write(`${request}\n`);
    const answer = await this.#answers.next();
    if (answer.done === true) throw new Error(`the VMM is gone; asked: ${request}`);
    return answer.value;
  }

  /** Asks for something that must go well. @returns the hexadecimal numbers of the answer */
  async command(request: string): Promise<bigint[]> {
    const answer = await this.ask(request);
    const [verdict, ...words] = answer.split(' ');
    if (verdict !== 'ok') throw new Error(`${request}: ${answer}`);
    return words.map((word) => BigInt(`0x${word}`));
  }

  /** Ends the process at once, as a crash would. */
  async kill(): Promise<void> {
    this.#socket.destroy();
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    const gone = once(this.#child, 'exit');
    this.#child.kill('SIGKILL');
    await gone;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.kill();
  }
}

/** HTAB descriptors that a process has open. */
export function htabDescriptors(
  pid: number,
): { readonly number: number; readonly access: 'read' | 'write' }[] {
  return readdirSync(`/proc/${pid}/fd`)
    .filter((name) => readlinkSync(`/proc/${pid}/fd/${name}`) === 'anon_inode:kvm-htab')
    .map((name) => {
      const flags = /^flags:\s*0(\d+)/m.exec(readFileSync(`/proc/${pid}/fdinfo/${name}`, 'utf8'))?.[1] ?? '0';
      return { number: Number(name), access: (parseInt(flags, 8) & 3) === 1 ? 'write' : 'read' };
    });
}
