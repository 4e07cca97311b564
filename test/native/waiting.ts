import { execFileSync, spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync, readdirSync } from 'node:fs';
import path from 'node:path';

const WARNINGS = ['-Wall', '-Wextra', '-Werror', '-O1'];

/** Whether this machine can make the programs. */
export const hasCompilers = ['cc', 'c++'].every((name) => spawnSync(name, ['--version']).status === 0);

/** Makes a program of C or C++ sources. */
export function compile(compiler: 'cc' | 'c++', program: string, ...sources: string[]): void {
  const flags = compiler === 'c++' ? [...WARNINGS, '-std=c++17'] : WARNINGS;
  execFileSync(compiler, [...flags, '-o', program, ...sources]);
}

/** Source of the program of {@link Waiting}. */
export const WAITING_SOURCE = path.join(import.meta.dirname, 'waiting.c');

/** What became of the waits of waiting.c. */
export interface Waits {
  readonly interrupted: number;
  /** Calls that ended without anything to tell. */
  readonly answers: number;
  /** Calls that ended with an error that no caller knows. */
  readonly errors: number;
  readonly signals: number;
}

/** A process of waiting.c. */
export class Waiting implements AsyncDisposable {
  readonly pid: number;
  /** Number of the descriptor in it that has the ioctl. */
  readonly fd: number;
  readonly #child: ChildProcess;

  private constructor(child: ChildProcess, fd: number) {
    this.pid = child.pid!;
    this.fd = fd;
    this.#child = child;
  }

  /** @param user whom it runs as; default: as this process */
  static async start(
    file: string,
    periodUs: number,
    { user, seccomp = false }: { user?: number | undefined; seccomp?: boolean } = {},
  ): Promise<Waiting> {
    const args = [String(periodUs), ...(seccomp ? ['seccomp'] : [])];
    const identity = user === undefined ? {} : { uid: user, gid: user };
    const child = spawn(file, args, { stdio: ['pipe', 'pipe', 'inherit'], ...identity });
    const [line] = (await once(child.stdout, 'data')) as [Buffer];
    return new Waiting(child, Number(line.toString()));
  }

  descriptors(): readonly string[] {
    return readdirSync(`/proc/${this.pid}/fd`);
  }

  status(field: string): string | undefined {
    const text = readFileSync(`/proc/${this.pid}/status`, 'utf8');
    return new RegExp(`^${field}:\\s*(.*)$`, 'm').exec(text)?.[1];
  }

  /** Lets it end, and gives what it has counted. */
  async end(): Promise<Waits> {
    this.#child.stdin!.end('\n');
    const [line] = (await once(this.#child.stdout!, 'data')) as [Buffer];
    return JSON.parse(line.toString()) as Waits;
  }

  [Symbol.asyncDispose](): Promise<void> {
    this.#child.kill('SIGKILL');
    return Promise.resolve();
  }
}
