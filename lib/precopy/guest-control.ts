import { bothErrors } from '../base/both-errors.js';
import { HtabError, HtabStateError } from '../base/errors.js';
import { within } from '../base/time.js';
import type { HtabVm } from '../vm/contract.js';
import { GuestCall } from './guest-call.js';
import type { GuestCallbacks } from './guest-options.js';

/**
 * The calls that timed out and go on, of each guest, by name; a `pause` together with the `resume` after it. They end at
 * any time, and would undo the next stop: a guest that has been moved by then would run here as well.
 */
const givenUp = new WeakMap<object, Map<Promise<void>, string>>();

/** Stops and resumes a guest, and knows whether it is stopped, and for how long. */
export class GuestControl {
  readonly #callbacks: GuestCallbacks | undefined;
  readonly #timeoutMs: number;
  /** Identifies the guest to the next `GuestControl` of it: callbacks are often made for one call. */
  readonly #guest: object;
  #stoppedAt: number | undefined;
  #throttleSteps = 0;
  /** The last call of `pause`, and of `throttle`: after a timeout they go on, and take effect at any time. */
  #pausing: GuestCall | undefined;
  #slowing: GuestCall | undefined;

  /**
   * @param callbacks undefined for a guest that is already paused, and is left as it is
   * @param timeoutMs longest time for one call of the callbacks
   * @param vm the guest's, where more than a descriptor of it is here
   */
  constructor(callbacks: GuestCallbacks | undefined, timeoutMs: number, vm?: HtabVm) {
    this.#callbacks = callbacks;
    this.#timeoutMs = timeoutMs;
    this.#guest = vm ?? callbacks?.pause ?? this;
  }

  /** Whether the guest was paused before. */
  get alreadyPaused(): boolean {
    return this.#callbacks === undefined;
  }

  /** Time since `pause` was called; undefined while the guest runs, and if it was paused before. */
  get stoppedMs(): number | undefined {
    if (this.#stoppedAt === undefined || this.#callbacks?.pausedBefore?.() === true) return undefined;
    return performance.now() - this.#stoppedAt;
  }

  /** How often it has been slowed down. */
  get throttleSteps(): number {
    return this.#throttleSteps;
  }

  /**
   * Stops the guest. When this rejects the call may go on: it is not known whether the guest runs, and {@link resume} must be called.
   *
   * @throws HtabStateError `busy` if the callback does not settle in time, or an earlier call of it or of `resume` still
   *   has not; it is not called then
   * @throws what the callback rejects with; the signal's reason
   */
  async pause(signal: AbortSignal | undefined): Promise<void> {
    const [name] = givenUp.get(this.#guest)?.values() ?? [];
    if (name !== undefined) {
      throw new HtabStateError(
        'busy',
        `an earlier ${name} call timed out and is still running: it may resume the guest when it ends, and the guest cannot ` +
          'be stopped before',
      );
    }
    const callbacks = this.#callbacks;
    if (callbacks === undefined) return;
    this.#stoppedAt = performance.now();
    const state = 'the guest is resumed, and will be resumed again after the late pause';
    this.#pausing = new GuestCall(() => callbacks.pause());
    await this.#inTime('pause', this.#pausing, signal, state);
  }

  /**
   * Makes sure that the guest still stands still, where its callbacks can tell.
   *
   * @throws what the callback rejects with; HtabStateError `busy` if it does not settle in time; the signal's reason
   */
  async confirmStopped(signal: AbortSignal | undefined): Promise<void> {
    const callbacks = this.#callbacks;
    if (callbacks?.confirmStopped === undefined) return;
    const call = new GuestCall(async () => callbacks.confirmStopped?.());
    await this.#inTime('confirmStopped', call, signal, 'the guest is resumed');
  }

  /**
   * Resumes the guest, if `pause` was called; waits until that call has settled or timed out.
   *
   * @param error the failure so far, reported with a failure to resume
   * @throws HtabError `ERR_HTAB_GUEST_STOPPED` if it cannot be resumed; `ERR_HTAB_IN_DOUBT` if `resume` rejects with that,
   *   because the guest may run elsewhere
   */
  async resume(error?: unknown): Promise<void> {
    if (this.#stoppedAt === undefined) return;
    const late = await this.#pausing?.unlessSettled(this.#timeoutMs);
    const resumed = this.#callResume();
    if (late !== undefined) this.#refuseStops('pause', this.#resumeAgain(late.result, resumed));
    try {
      await resumed;
    } catch (reason) {
      const cause = error === undefined ? reason : bothErrors(error, reason);
      if (reason instanceof HtabError && reason.code === 'ERR_HTAB_IN_DOUBT')
        throw new HtabError('ERR_HTAB_IN_DOUBT', reason.message, { cause });
      const text = 'the guest could not be resumed: it is here, unharmed and stopped';
      throw new HtabError('ERR_HTAB_GUEST_STOPPED', text, { cause });
    }
    this.#stoppedAt = undefined;
  }

  /** Slows the guest down by one more step. */
  async slowDown(signal: AbortSignal | undefined): Promise<void> {
    this.#throttleSteps++;
    this.#slowing = this.#throttle(this.#throttleSteps);
    await this.#inTime('throttle', this.#slowing, signal, 'the guest may be slow');
  }

  /** Gives a guest that stays its speed back; that this may fail is not what has ended the migration. */
  async fullSpeed(): Promise<void> {
    if (this.#slowing === undefined) return;
    const late = await this.#slowing.unlessSettled(this.#timeoutMs);
    const state = 'the guest may be slow';
    await this.#inTime('throttle', this.#throttle(0), undefined, state).catch(() => undefined);
    late?.undo(async () => this.#callbacks?.throttle?.(0));
  }

  async #callResume(): Promise<void> {
    const resuming = new GuestCall(async () => this.#callbacks?.resume());
    try {
      await this.#inTime('resume', resuming, undefined, 'the guest is here, and may be stopped');
    } catch (error) {
      this.#refuseStops('resume', resuming.result);
      throw error;
    }
  }

  /** A late `pause` stops the guest when it ends, although `resume` has been called meanwhile: calls it again. */
  async #resumeAgain(pausing: Promise<void>, resumed: Promise<void>): Promise<void> {
    const [, { status }] = await Promise.allSettled([pausing, resumed]);
    // The caller has heard that the guest may be stopped, and decides about it.
    if (status === 'rejected') return;
    try {
      await this.#callResume();
    } catch (reason) {
      // No call waits for this any more: the error that ended the migration, or the snapshot, has promised it.
      process.emitWarning(
        `the guest may be stopped: its pause ended after it had timed out, and the resume after it failed: ${String(reason)}`,
        { code: 'HTAB_GUEST_STOPPED' },
      );
    }
  }

  /** Refuses every stop of the guest until this has ended. */
  #refuseStops(name: string, end: Promise<void>): void {
    const calls = givenUp.get(this.#guest) ?? new Map<Promise<void>, string>();
    givenUp.set(this.#guest, calls.set(end, name));
    const ended = (): boolean => calls.delete(end);
    end.then(ended, ended);
  }

  #throttle(step: number): GuestCall {
    return new GuestCall(async () => this.#callbacks?.throttle?.(step));
  }

  async #inTime(
    name: string,
    call: GuestCall,
    signal: AbortSignal | undefined,
    state: string,
  ): Promise<void> {
    const late = (): Error =>
      new HtabStateError('busy', `${name} did not settle within ${this.#timeoutMs} ms: ${state}`);
    await within(call.result, this.#timeoutMs, signal, late);
  }
}
