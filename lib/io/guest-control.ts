import { checkFunction } from '../arguments.js';
import { HtabError, HtabStateError } from '../errors.js';
import { within } from '../node/waiting.js';

/** Stops a guest and lets it run again. Nothing here may take longer than `guestTimeoutMs`. */
export interface GuestCallbacks {
  /** Stops the guest: once it has resolved, no vcpu runs and nothing else changes the table. */
  readonly pause: () => Promise<void>;
  /** Lets the guest run again: called once `pause` was, unless the guest may run elsewhere by then. */
  readonly resume: () => Promise<void>;
  /**
   * Slows the guest down, further with every step from 1 on; 0: full speed again, because it stays. For
   * `whenNotConverging: 'throttle'`.
   */
  readonly throttle?: ((step: number) => Promise<void>) | undefined;
}

/** Longest time one call may take if nobody says, in ms. */
export const GUEST_TIMEOUT_MS = 30_000;

/**
 * Refuses what does not stop a guest: one that runs on would be in two places.
 *
 * @throws TypeError (`ERR_INVALID_ARG_TYPE`)
 */
export function checkGuestCallbacks({ pause, resume, throttle }: GuestCallbacks): void {
  checkFunction('pause', pause);
  checkFunction('resume', resume);
  if (throttle !== undefined) checkFunction('throttle', throttle);
}

/** Controls a guest, and knows whether it stands still, and for how long. */
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
   * @throws HtabStateError `busy` if the callback does not settle in time
   * @throws what the callback rejects with; the signal's reason
   */
  async pause(signal: AbortSignal | undefined): Promise<void> {
    this.#stoppedAt = performance.now();
    const state = 'the guest is here and is told to run, but may still stop when that call ends';
    await this.#inTime('pause', () => this.#callbacks.pause(), signal, state);
  }

  /**
   * Lets the guest run, if it was told to stop.
   *
   * @param error what has gone wrong so far, told with a failure to resume
   * @throws HtabError `ERR_HTAB_GUEST_STOPPED` if it cannot be resumed
   */
  async resume(error?: unknown): Promise<void> {
    if (this.#stoppedAt === undefined) return;
    try {
      const state = 'the guest is here, and may stand still';
      await this.#inTime('resume', () => this.#callbacks.resume(), undefined, state);
      this.#stoppedAt = undefined;
    } catch (reason) {
      throw new HtabError(
        'ERR_HTAB_GUEST_STOPPED',
        'the guest could not be resumed: it is here, unharmed and stopped',
        { cause: error === undefined ? reason : new AggregateError([error, reason]) },
      );
    }
  }

  /** Slows the guest down by one more step. */
  async slowDown(signal: AbortSignal | undefined): Promise<void> {
    this.#throttleSteps++;
    await this.#throttle(this.#throttleSteps, signal);
  }

  /** Gives a guest that stays its speed back; that this may fail is not what has ended the migration. */
  async fullSpeed(): Promise<void> {
    if (this.#throttleSteps > 0) await this.#throttle(0, undefined).catch(() => undefined);
  }

  #throttle(step: number, signal: AbortSignal | undefined): Promise<void> {
    const throttle = async (): Promise<void> => this.#callbacks.throttle?.(step);
    return this.#inTime('throttle', throttle, signal, 'the guest may be slow');
  }

  async #inTime(
    name: string,
    call: () => Promise<void>,
    signal: AbortSignal | undefined,
    state: string,
  ): Promise<void> {
    const late = (): Error =>
      new HtabStateError('busy', `${name} has not settled within ${this.#timeoutMs} ms: ${state}`);
    await within(call(), this.#timeoutMs, signal, late);
  }
}
