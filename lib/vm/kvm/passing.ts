import { lstat, unlink } from 'node:fs/promises';
import { checkInteger, checkPath } from '../../arguments.js';
import { HtabSystemError } from '../../errors.js';
import { MAX_MS, pause } from '../../node/waiting.js';
import { checkCall, systemError } from '../base.js';
import type { Addon, Descriptor, Message } from './addon.js';
import { attempt } from './failure.js';

/** How long the two ends of a Unix socket wait for each other. */
export interface PassingOptions {
  /** Milliseconds for everything together, 0..2^31 - 1. Default 10,000. */
  readonly timeoutMs?: number;
  /** Ends the wait: the promise rejects with the signal's reason. */
  readonly signal?: AbortSignal | undefined;
}

const DEFAULT_TIMEOUT_MS = 10_000;
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
): Promise<Message> {
  checkPath('socketPath', socketPath);
  const operation = `receive an HTAB descriptor over ${socketPath}`;
  const wait = new Wait(operation, options);
  const peer = await wait.untilThrough(() => addon.connect(socketPath));
  try {
    for (let rest = new TextEncoder().encode(request); rest.length > 0;) {
      const sent = await wait.untilThrough(async () =>
        checkCall(await addon.send(peer, rest), 'send', operation),
      );
      rest = rest.subarray(sent);
    }
    return await wait.untilThrough(() => addon.receive(peer));
  } finally {
    await peer.close();
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
  const listener = await attempt(operation, addon.listen(socketPath));
  const made = await lstat(socketPath).catch(() => undefined);
  try {
    await wait.untilThrough(() => addon.offer(listener, descriptor));
  } finally {
    await listener.close();
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

  constructor(operation: string, { timeoutMs = DEFAULT_TIMEOUT_MS, signal }: PassingOptions) {
    checkInteger('timeoutMs', timeoutMs, 0, MAX_MS);
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
        return await attempt(this.#operation, call());
      } catch (error) {
        if (!(error instanceof HtabSystemError) || error.errnoName !== 'EAGAIN') throw error;
        if (performance.now() >= this.#deadline) {
          throw systemError(error.syscall, 'ETIMEDOUT', { operation: this.#operation });
        }
      }
      const untilDeadline = this.#deadline - performance.now();
      await pause(Math.min(pauseMs, untilDeadline), this.#signal);
    }
  }
}
