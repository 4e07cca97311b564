import { migrationError } from './failure.js';

/** Stops a guest and lets it run again. */
export interface GuestCallbacks {
  /** Stops the guest: once it has resolved, no vcpu runs and nothing else changes the table. */
  readonly pause: () => Promise<void>;
  /** Lets the guest run again: called if the migration fails after `pause` was called, and never once it may run elsewhere. */
  readonly resume: () => Promise<void>;
}

/** Knows whether the source's guest stands still, and for how long. */
export class GuestControl {
  readonly #callbacks: GuestCallbacks;
  #stoppedAt: number | undefined;

  constructor(callbacks: GuestCallbacks) {
    this.#callbacks = callbacks;
  }

  /** Time since the guest was told to stop; undefined while it runs. */
  get stoppedMs(): number | undefined {
    return this.#stoppedAt === undefined ? undefined : performance.now() - this.#stoppedAt;
  }

  async pause(): Promise<void> {
    this.#stoppedAt = performance.now();
    await this.#callbacks.pause();
  }

  /**
   * Lets the guest run, if it was told to stop.
   *
   * @param error what has ended the migration so far, told with a failure to resume
   * @throws HtabError `ERR_HTAB_MIGRATION` if it cannot be resumed
   */
  async resume(error: unknown): Promise<void> {
    if (this.#stoppedAt === undefined) return;
    try {
      await this.#callbacks.resume();
      this.#stoppedAt = undefined;
    } catch (reason) {
      throw migrationError(
        'the migration failed, and the guest could not be resumed at the source: it is there, unharmed and stopped',
        new AggregateError([error, reason]),
      );
    }
  }
}
