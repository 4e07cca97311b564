import { within } from '../node/waiting.js';
import { migrationError } from './failure.js';

/** Stops a guest and lets it run again. Neither may take longer than `guestTimeoutMs`. */
export interface GuestCallbacks {
  /** Stops the guest: once it has resolved, no vcpu runs and nothing else changes the table. */
  readonly pause: () => Promise<void>;
  /** Lets the guest run again: called if the migration fails after `pause` was called, and never once it may run elsewhere. */
  readonly resume: () => Promise<void>;
  /**
   * Slows the guest down, further with every step from 1 on; 0: full speed again, because it stays. For
   * `whenNotConverging: 'throttle'`.
   */
  readonly throttle?: (step: number) => Promise<void>;
}

/** Controls the source's guest, and knows whether it stands still, and for how long. */
export class GuestControl {
  readonly #callbacks: GuestCallbacks;
  readonly #timeoutMs: number;
  #stoppedAt: number | undefined;
  #throttleSteps = 0;

  /** @param timeoutMs longest time for one call of the callbacks */
  constructor(callbacks: GuestCallbacks, timeoutMs: number) {
    this.#callbacks = callbacks;
    this.#timeoutMs = timeoutMs;
  }

  /** Time since the guest was told to stop; undefined while it runs. */
  get stoppedMs(): number | undefined {
    return this.#stoppedAt === undefined ? undefined : performance.now() - this.#stoppedAt;
  }

  /** How often it has been slowed down. */
  get throttleSteps(): number {
    return this.#throttleSteps;
  }

  /**
   * Stops the guest. If this rejects it is not known whether the guest runs, and {@link resume} must be called.
   *
   * @throws HtabError `ERR_HTAB_MIGRATION` if the callback does not settle in time
   * @throws what the callback rejects with; the signal's reason
   */
  async pause(signal: AbortSignal | undefined): Promise<void> {
    this.#stoppedAt = performance.now();
    await this.#call(
      'pause',
      signal,
      'the guest is here and is told to run, but may still stop when that call ends',
    );
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
      await this.#call('resume', undefined, 'the guest is here, and may stand still');
      this.#stoppedAt = undefined;
    } catch (reason) {
      throw migrationError(
        'the migration failed, and the guest could not be resumed at the source: it is there, unharmed and stopped',
        new AggregateError([error, reason]),
      );
    }
  }

  /** Slows the guest down by one more step. */
  async slowDown(signal: AbortSignal | undefined): Promise<void> {
    this.#throttleSteps++;
    await this.#call('throttle', signal, 'the guest may be slow', this.#throttleSteps);
  }

  /** Gives a guest that stays its speed back; that this may fail is not what has ended the migration. */
  async fullSpeed(): Promise<void> {
    if (this.#throttleSteps > 0) await this.#call('throttle', undefined, '', 0).catch(() => undefined);
  }

  async #call(
    name: keyof GuestCallbacks,
    signal: AbortSignal | undefined,
    state: string,
    step = 0,
  ): Promise<void> {
    const call = async (): Promise<void> => this.#callbacks[name]?.(step);
    const late = (): Error =>
      migrationError(`${name} has not settled within ${this.#timeoutMs} ms: ${state}`);
    await within(call(), this.#timeoutMs, signal, late);
  }
}
