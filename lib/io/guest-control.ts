import { checkFunction } from '../arguments.js';
import { HtabError, HtabStateError } from '../errors.js';
import { settled, within } from '../node/waiting.js';
import type { HtabVm } from '../vm/contract.js';

/** Stops a guest and lets it run again. Nothing here may take longer than `guestTimeoutMs`. */
export interface GuestCallbacks {
  /**
   * Stops the guest: once it has resolved, no vcpu runs and nothing else changes the table. One that has not settled
   * within `guestTimeoutMs` is given up, and `resume` called; when it settles after that, `resume` is called once more;
   * should this fail, a process warning with the code `HTAB_GUEST_STOPPED` says that the guest may stand still.
   *
   * Until then, or until a `resume` that was given up has settled, the guest must not be moved or stopped by anybody else.
   * Who tries it is refused (`busy`), and the guest runs on; where such a call never settles, until the process ends. A
   * guest is known by its `HtabVm`, and by this function where its table is a descriptor: there it must be the same
   * function in every call, not one made for the call, and of no other guest. Another process does not know of it.
   */
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
/** Longest time a guest stands still, once its `pause` has settled, if nobody says, in ms. */
export const STOP_LIMIT_MS = 120_000;

/** A callback often ends itself at the very limit that it has here: it is waited for this much longer, in ms. */
const GRACE_MS = 1000;

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

/**
 * Of each guest, what was given up and goes on: calls by name, a `pause` with the `resume` behind it. Its end comes when it
 * likes, and would undo the next stop: a guest that has been moved by then would run here as well.
 */
const givenUp = new WeakMap<object, Map<Promise<void>, string>>();

/** Controls a guest, and knows whether it stands still, and for how long. */
export class GuestControl {
  readonly #callbacks: GuestCallbacks;
  readonly #timeoutMs: number;
  /** What the guest is known by to those who control it next: callbacks are often made for one call. */
  readonly #guest: object;
  #stoppedAt: number | undefined;
  #throttleSteps = 0;
  /** The last call of `pause`, and of `throttle`: given up, they go on, and what they do comes when they like. */
  #pausing: Call | undefined;
  #slowing: Call | undefined;

  /**
   * @param timeoutMs longest time for one call of the callbacks
   * @param vm the guest's, where more than a descriptor of it is here
   */
  constructor(callbacks: GuestCallbacks, timeoutMs: number, vm?: HtabVm) {
    this.#callbacks = callbacks;
    this.#timeoutMs = timeoutMs;
    this.#guest = vm ?? callbacks.pause;
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
        `an earlier call of ${name} was given up and has not ended: the guest may be let run when it does, and cannot be ` +
          'stopped before',
      );
    }
    this.#stoppedAt = performance.now();
    const state = 'the guest is here and is told to run, and told so again when that call ends';
    this.#pausing = new Call(() => this.#callbacks.pause());
    await this.#inTime('pause', this.#pausing, signal, state);
  }

  /**
   * Lets the guest run, if it was told to stop; not before that call has settled, or its time is over.
   *
   * @param error what has gone wrong so far, told with a failure to resume
   * @throws HtabError `ERR_HTAB_GUEST_STOPPED` if it cannot be resumed
   */
  async resume(error?: unknown): Promise<void> {
    if (this.#stoppedAt === undefined) return;
    const late = await this.#pausing?.unlessSettled(this.#timeoutMs);
    const told = this.#tellToRun();
    if (late !== undefined) this.#refuseStops('pause', this.#tellAgain(late.result, told));
    try {
      await told;
    } catch (reason) {
      throw new HtabError(
        'ERR_HTAB_GUEST_STOPPED',
        'the guest could not be resumed: it is here, unharmed and stopped',
        { cause: error === undefined ? reason : new AggregateError([error, reason]) },
      );
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
    late?.undo(async () => this.#callbacks.throttle?.(0));
  }

  async #tellToRun(): Promise<void> {
    const resuming = new Call(() => this.#callbacks.resume());
    try {
      await this.#inTime('resume', resuming, undefined, 'the guest is here, and may stand still');
    } catch (error) {
      this.#refuseStops('resume', resuming.result);
      throw error;
    }
  }

  /** A `pause` that was given up stops the guest when it ends, though it has been told to run meanwhile. */
  async #tellAgain(pausing: Promise<void>, told: Promise<void>): Promise<void> {
    const [, { status }] = await Promise.allSettled([pausing, told]);
    // Whoever knows that the guest stands still decides what becomes of it.
    if (status === 'rejected') return;
    try {
      await this.#tellToRun();
    } catch (reason) {
      // Nobody waits for this any more: the error that ended the migration, or the snapshot, has promised it.
      process.emitWarning(
        `the guest may stand still: its pause was given up and has ended since, and resume after it failed: ${String(reason)}`,
        { code: 'HTAB_GUEST_STOPPED' },
      );
    }
  }

  /** Lets nobody stop the guest before this has ended. */
  #refuseStops(name: string, end: Promise<void>): void {
    const calls = givenUp.get(this.#guest) ?? new Map<Promise<void>, string>();
    givenUp.set(this.#guest, calls.set(end, name));
    const ended = (): boolean => calls.delete(end);
    end.then(ended, ended);
  }

  #throttle(step: number): Call {
    return new Call(async () => this.#callbacks.throttle?.(step));
  }

  async #inTime(name: string, call: Call, signal: AbortSignal | undefined, state: string): Promise<void> {
    const late = (): Error =>
      new HtabStateError('busy', `${name} has not settled within ${this.#timeoutMs} ms: ${state}`);
    await within(call.result, this.#timeoutMs, signal, late);
  }
}

/** A call of a callback, which goes on by itself where nobody waits for it any more. */
class Call {
  readonly result: Promise<void>;
  readonly #begunAt = performance.now();
  #settled = false;

  constructor(callback: () => Promise<void>) {
    // A callback that throws instead of rejecting fails in the same way.
    this.result = (async () => {
      try {
        await callback();
      } finally {
        this.#settled = true;
      }
    })();
  }

  /**
   * Waits until it has settled, or its time is over.
   *
   * @returns itself if it has not: what is done about it now may come before it, and must be done once more behind it
   */
  async unlessSettled(timeoutMs: number): Promise<this | undefined> {
    const leftMs = this.#begunAt + timeoutMs - performance.now();
    const waitMs = Math.max(leftMs, Math.min(GRACE_MS, timeoutMs));
    await settled(() => this.result, waitMs);
    return this.#settled ? undefined : this;
  }

  /** Once it has settled, undoes what it has done; nobody is left to be told of a failure. */
  undo(undo: () => Promise<void>): void {
    this.result
      .catch(() => undefined)
      .then(undo)
      .catch(() => undefined);
  }
}
