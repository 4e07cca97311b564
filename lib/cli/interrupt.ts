import { constants } from 'node:os';

/** SIGHUP: the terminal is gone, for example because the connection to the host was lost. */
export const INTERRUPTIONS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;
type Interruption = (typeof INTERRUPTIONS)[number];

/** What a terminal stops a process with: Ctrl-Z, and the use of the terminal in the background. */
export const STOPS = ['SIGTSTP', 'SIGTTIN', 'SIGTTOU'] as const;

/** Runs a job that a terminal cannot stop: the guest would stand still as long, beyond every limit. */
export async function unstoppable<T>(job: () => Promise<T>): Promise<T> {
  const ignore = (): void => undefined;
  for (const signal of STOPS) process.on(signal, ignore);
  try {
    return await job();
  } finally {
    for (const signal of STOPS) process.off(signal, ignore);
  }
}

/** The reason of an abort by a signal to this process. */
export class Interrupted extends Error {
  override readonly name = 'Interrupted';
  readonly signal: Interruption;
  /** 128 + the signal's number, as a shell has it. */
  readonly exitCode: number;

  constructor(signal: Interruption) {
    super(`ended by ${signal}`);
    this.signal = signal;
    this.exitCode = 128 + constants.signals[signal];
  }
}

/**
 * Runs a job that these signals abort, however often they come: a process that just ended would leave a guest stopped, or
 * its exit code would deny a commit that was sent.
 *
 * @param late called for a signal that comes after the job, until the process ends; without it such a signal acts as it
 *   did before the job
 */
export async function interruptible<T>(
  job: (signal: AbortSignal) => Promise<T>,
  late?: () => void,
): Promise<T> {
  const controller = new AbortController();
  const interrupt = (signal: NodeJS.Signals): void => {
    controller.abort(new Interrupted(signal as Interruption));
  };
  for (const signal of INTERRUPTIONS) process.on(signal, interrupt);
  try {
    return await job(controller.signal);
  } finally {
    for (const signal of INTERRUPTIONS) {
      // In this order: a signal without a handler ends the process with a status that denies what the job has done.
      if (late !== undefined) process.on(signal, late);
      process.off(signal, interrupt);
    }
  }
}
