import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import type { ControlledGuest } from './controlled-guest.js';

/** Commands for a shell. */
export interface HookCommands {
  readonly onPause: string;
  readonly onResume: string;
  /** Gets the step in the variable KVM_HTAB_THROTTLE. */
  readonly onThrottle?: string | undefined;
}

/**
 * Controls a guest by commands that the user has given. Each must end with status 0 once it is done. One that is killed has
 * ended as well: what a daemon does for it after that comes behind the next command, and nobody is told.
 */
export class Hooks implements ControlledGuest {
  readonly throttle: ((step: number) => Promise<void>) | undefined;
  readonly #commands: HookCommands;
  readonly #timeoutMs: number;

  /** @param timeoutMs longest time for one command, which is killed then */
  constructor(commands: HookCommands, timeoutMs: number) {
    this.#commands = commands;
    this.#timeoutMs = timeoutMs;
    const { onThrottle } = commands;
    if (onThrottle === undefined) return;
    this.throttle = (step) =>
      runHook('--on-throttle', onThrottle, timeoutMs, { KVM_HTAB_THROTTLE: String(step) });
  }

  pause(): Promise<void> {
    return runHook('--on-pause', this.#commands.onPause, this.#timeoutMs);
  }

  resume(): Promise<void> {
    return runHook('--on-resume', this.#commands.onResume, this.#timeoutMs);
  }

  close(): void {
    // Nothing runs between two commands.
  }
}

async function runHook(
  option: string,
  command: string,
  timeoutMs: number,
  variables: Readonly<Record<string, string>> = {},
): Promise<void> {
  const child = spawn('/bin/sh', ['-c', command], {
    // What a command prints is talk, and stdout is for data.
    stdio: ['ignore', process.stderr.fd, process.stderr.fd],
    env: { ...process.env, ...variables },
    // In a process group of its own: Ctrl-C ends this process cleanly, and must not hit the command that resumes the guest.
    detached: true,
  });
  const timer = setTimeout(killGroup, timeoutMs, child);
  try {
    const [status, signal] = (await once(child, 'exit')) as [number | null, NodeJS.Signals | null];
    if (status === 0) return;
    const end = status === null ? `was ended by ${String(signal)}` : `ended with status ${status}`;
    const late = signal === 'SIGKILL' ? ` (it may take ${timeoutMs} ms)` : '';
    throw new Error(`the command of ${option} ${end}${late}: ${command}`);
  } finally {
    clearTimeout(timer);
  }
}

/** Ends a command with all that it has started: a group has the number of its leader. */
function killGroup({ pid }: ChildProcess): void {
  try {
    if (pid !== undefined) process.kill(-pid, 'SIGKILL');
  } catch {
    // It has ended by itself in this very moment.
  }
}
