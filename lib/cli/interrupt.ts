import { constants } from 'node:os';

/** SIGHUP: the terminal has gone, as where a connection to the host was lost. */
export const INTERRUPTIONS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;
type Interruption = (typeof INTERRUPTIONS)[number];

/** The reason of an abort that a signal to this process has caused. */
export class Interrupted extends Error {
  override readonly name = 'Interrupted';
  /** 128 + the signal's number, as a shell has it. */
  readonly exitCode: number;

  constructor(signal: Interruption) {
    super(`ended by ${signal}`);
    this.exitCode = 128 + constants.signals[signal];
  }
}

/**
 * Runs a job that these signals abort. However often they come: a process that just ended would leave a guest stopped,
 * or its exit code would deny a commit that is out.
 */
export async function interruptible<T>(job: (signal: AbortSignal) => Promise<T>): Promise<T> {
  const controller = new AbortController();
  const interrupt = (signal: NodeJS.Signals): void => {
    controller.abort(new Interrupted(signal as Interruption));
  };
  for (const signal of INTERRUPTIONS) process.on(signal, interrupt);
  try {
    return await job(controller.signal);
  } finally {
    for (const signal of INTERRUPTIONS) process.off(signal, interrupt);
  }
}
