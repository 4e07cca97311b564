import { lstat, unlink } from 'node:fs/promises';
import { constants } from 'node:os';
import { checkPath } from '../../base/arguments.js';
import { numbersOf, type OptionTable } from '../../base/options.js';
import { HtabSystemError } from '../../base/errors.js';
import { MAX_MS, sleep } from '../../base/time.js';
import { attempt, systemError } from '../call-result.js';
import { type Addon, type Descriptor, discard, type SocketMessage } from './addon.js';

const { ETIMEDOUT } = constants.errno;

/** How long the two ends of a Unix socket wait for each other. */
export interface PassingOptions {
  /** Milliseconds for everything together, 0..2^31 - 1. Default 10,000. */
  readonly timeoutMs?: number;
  /** Ends the wait: the promise rejects with the signal's reason. */
  readonly signal?: AbortSignal | undefined;
}

export const PASSING_OPTIONS = {
  timeoutMs: {
    ...{ min: 0, max: MAX_MS, default: 10_000, unit: 'ms' },
    doc: 'longest time for everything together',
  },
  signal: { doc: 'ends the wait with its reason' },
} as const satisfies OptionTable<PassingOptions>;

/** Most peers answer at once; one that does not is asked after less and less often. */
const FIRST_PAUSE_MS = 1;
const LONGEST_PAUSE_MS = 50;

/**
 * Connects to a Unix socket, sends a request (which may be empty) and takes the first message that comes.
 *
 * @returns the message; its descriptors are the caller's to close
 */
export async function receiveMessage(
  addon: Addon,
  socketPath: string,
  request: string,
  options: PassingOptions,
): Promise<SocketMessage> {
  checkPath('socketPath', socketPath);
  const operation = `receive an HTAB descriptor over ${socketPath}`;
  const wait = new Wait(operation, options);
  const peer = await wait.untilThrough(() => addon.connect(socketPath));
  try {
    for (let rest = new TextEncoder().encode(request); rest.length > 0;) {
      const sent = await wait.untilThrough(() => addon.send(peer, rest));
      rest = rest.subarray(sent);
    }
    return await wait.untilThrough(() => addon.receive(peer));
  } finally {
    await discard(peer);
  }
}

/** Listens at a path, where nothing may be yet, and sends a duplicate of the descriptor to the first who connects. */
export async function offerDescriptor(
  addon: Addon,
  descriptor: Descriptor,
  socketPath: string,
  options: PassingOptions,
): Promise<void> {
  const operation = `send an HTAB descriptor over ${socketPath}`;
  const wait = new Wait(operation, options);
  const listener = await attempt(operation, () => addon.listen(socketPath));
  const made = await lstat(socketPath).catch(() => undefined);
  try {
    await wait.untilThrough(() => addon.offer(listener, descriptor));
  } finally {
    await discard(listener);
    // Another may have removed the socket meanwhile, and made something of its own there.
    const found = await lstat(socketPath).catch(() => undefined);
    if (found !== undefined && found.ino === made?.ino && found.dev === made.dev) await unlink(socketPath);
  }
}

/**
 * Waits for a peer without holding a thread of the pool: four silent peers would stop every read and write of the
 * process.
 */
class Wait {
  readonly #operation: string;
  readonly #deadline: number;
  readonly #signal: AbortSignal | undefined;

  constructor(operation: string, options: PassingOptions) {
    const { timeoutMs } = numbersOf(PASSING_OPTIONS, options);
    const { signal } = options;
    this.#operation = operation;
    this.#deadline = performance.now() + timeoutMs;
    this.#signal = signal;
  }

  /**
   * Makes a call until it says something else than EAGAIN.
   *
   * @throws HtabSystemError ETIMEDOUT at the deadline
   */
  async untilThrough<T>(call: () => Promise<T>): Promise<T> {
    for (let pauseMs = FIRST_PAUSE_MS; ; pauseMs = Math.min(2 * pauseMs, LONGEST_PAUSE_MS)) {
      this.#signal?.throwIfAborted();
      try {
        return await attempt(this.#operation, call);
      } catch (error) {
        if (!(error instanceof HtabSystemError) || error.errnoName !== 'EAGAIN') throw error;
        if (performance.now() >= this.#deadline) {
          throw systemError(this.#operation, { errno: ETIMEDOUT, syscall: error.syscall });
        }
      }
      const untilDeadline = this.#deadline - performance.now();
      await sleep(Math.min(pauseMs, untilDeadline), this.#signal);
    }
  }
}
