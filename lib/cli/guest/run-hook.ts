import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import type { Readable } from 'node:stream';

/** A shell command of the user. */
export interface Hook {
  /** The option that gave it, for errors: `--on-pause`. */
  readonly option: string;
  readonly command: string;
  /** Longest time, in ms; the command is killed then. Default: none. */
  readonly timeoutMs?: number;
  /** Kills the command when it aborts. */
  readonly signal?: AbortSignal;
  /** Environment variables beside those of this process. */
  readonly variables?: Readonly<Record<string, string>>;
  /** What it can read from its standard input; default: nothing. */
  readonly input?: Uint8Array;
  /** Most bytes that it may print. Default: none; what it prints goes to stderr. */
  readonly maxOutput?: number;
}

/**
 * Runs a command, which must end with status 0.
 *
 * @returns what it has printed, where it may print
 * @throws the signal's reason
 */
export async function runHook(hook: Hook): Promise<Uint8Array> {
  const { option, command, signal, input, maxOutput = 0, variables } = hook;
  const { fd: stderr } = process.stderr;
  const child = spawn('/bin/sh', ['-c', command], {
    // stdout is for data; what a command says to people goes to stderr.
    stdio: [input === undefined ? 'ignore' : 'pipe', hook.maxOutput === undefined ? stderr : 'pipe', stderr],
    env: { ...process.env, ...variables },
    // In its own process group: Ctrl-C must not reach the command that resumes the guest.
    detached: true,
  });
  let late = '';
  const kill = (reason = ''): void => {
    late ||= reason;
    killGroup(child);
    // What has left the group may keep it open.
    child.stdout?.destroy();
  };
  const limits = limitsOf(hook, kill);
  // A command may end without reading all of it.
  child.stdin?.on('error', () => undefined).end(input);
  const printing = readAll(child.stdout, maxOutput, kill);
  try {
    const [status, by] = (await once(child, 'exit')) as [number | null, NodeJS.Signals | null];
    // A command that has failed may have left its output to another one.
    if (status !== 0) child.stdout?.destroy();
    const { output, isCut } = await printing;
    signal?.throwIfAborted();
    if (isCut) throw new Error(`the command of ${option} printed more than ${maxOutput} bytes: ${command}`);
    if (status === 0 && output !== undefined) return output;
    const end = by === null ? `ended with status ${String(status)}` : `was ended by ${by}`;
    throw new Error(`the command of ${option} ${end}${late}: ${command}`);
  } finally {
    limits.lift();
    child.stdout?.destroy();
  }
}

function limitsOf({ timeoutMs, signal }: Hook, kill: (reason?: string) => void): { lift(): void } {
  const timer =
    timeoutMs === undefined ? undefined : setTimeout(kill, timeoutMs, ` (it may take ${timeoutMs} ms)`);
  const abort = (): void => {
    kill();
  };
  signal?.addEventListener('abort', abort);
  if (signal?.aborted === true) abort();
  return {
    lift: () => {
      clearTimeout(timer);
      signal?.removeEventListener('abort', abort);
    },
  };
}

interface Printed {
  /** All of it; undefined if its end has not come. */
  readonly output: Uint8Array | undefined;
  /** There was more than there may be. */
  readonly isCut: boolean;
}

/** Reads what a command prints, and kills it if that is too much. */
async function readAll(stdout: Readable | null, maxBytes: number, kill: () => void): Promise<Printed> {
  const chunks: Buffer[] = [];
  let length = 0;
  try {
    for await (const chunk of (stdout ?? []) as AsyncIterable<Buffer>) {
      length += chunk.length;
      if (length > maxBytes) {
        kill();
        return { output: undefined, isCut: true };
      }
      chunks.push(chunk);
    }
    return { output: Buffer.concat(chunks), isCut: false };
  } catch {
    return { output: undefined, isCut: false };
  }
}

/** Kills a command with all that it has started: a group has the number of its leader. */
function killGroup({ pid }: ChildProcess): void {
  try {
    if (pid !== undefined) process.kill(-pid, 'SIGKILL');
  } catch {
    // It has just ended by itself.
  }
}
