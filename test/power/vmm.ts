import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ControlClient } from './control-client.js';

/** A VMM of test/power/vmm in a process of its own, and the lines spoken with it. */
export class Vmm implements AsyncDisposable {
  readonly pid: number;
  readonly control: ControlClient;
  readonly #child: ChildProcess;

  private constructor(child: ChildProcess, control: ControlClient) {
    this.pid = child.pid ?? -1;
    this.control = control;
    this.#child = child;
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
    return new Vmm(child, await ControlClient.open(socketPath));
  }

  /** The Unix socket at which it takes requests, also for descriptors. */
  get socketPath(): string {
    return this.control.socketPath;
  }

  /** @returns the line it answers */
  ask(request: string): Promise<string> {
    return this.control.ask(request);
  }

  /** Asks for something that must go well. @returns the hexadecimal numbers of the answer */
  async command(request: string): Promise<bigint[]> {
    return (await this.control.words(request)).map((word) => BigInt(`0x${word}`));
  }

  /** Ends the process at once, as a crash would. */
  async kill(): Promise<void> {
    this.control[Symbol.dispose]();
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

/** What a process has open, by number. */
export function openDescriptors(pid: number): readonly string[] {
  return readdirSync(`/proc/${pid}/fd`).map((name) => `${name} ${readlinkSync(`/proc/${pid}/fd/${name}`)}`);
}
