import { checkFunction, invalidTypeError, invalidValueError } from '../base/arguments.js';
import type { OptionTable } from '../base/options.js';
import { MAX_MS } from '../base/time.js';

/** Stops a guest and lets it run again. Nothing here may take longer than `guestTimeoutMs`. */
export interface GuestCallbacks {
  /**
   * Stops the guest: once it has resolved, no vcpu runs and nothing else changes the table. One that has not settled
   * within `guestTimeoutMs` is given up, and `resume` called; when it settles after that, `resume` is called once more;
   * should this fail, a process warning with the code `HTAB_GUEST_STOPPED` reports that the guest may be stopped.
   *
   * Until then, or until a `resume` that was given up has settled, the guest must not be moved or stopped by another
   * call: it is refused (`busy`), and the guest runs on; where the late call never settles, until the process ends. A
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
  /**
   * Called once, when all else is ready for the commit: rejects if the guest does not stand still any more, or may run
   * elsewhere, because someone else has let it run or migrated it. Then nothing is committed.
   */
  readonly confirmStopped?: (() => Promise<void>) | undefined;
  /** Whether the guest stood still before the last `pause`: then there is no stop to be measured. */
  readonly pausedBefore?: (() => boolean) | undefined;
}

type Optional<T> = { readonly [Key in keyof T]?: T[Key] | undefined };

/** How a guest is stopped, or that it is stopped already. */
export interface GuestOptions extends Optional<GuestCallbacks> {
  /**
   * The guest is stopped already, as after an operator's pause: it is not paused, and not resumed after a failure either.
   * Then `pause`, `resume` and `throttle` are refused; without it `pause` and `resume` are needed. Default false.
   */
  readonly alreadyPaused?: boolean | undefined;
}

/** How long a guest may be stopped. */
export interface GuestLimits {
  /** Longest time one call of `pause`, `resume` or `throttle` may take, in ms, 1..2^31 - 1; default 30,000. */
  readonly guestTimeoutMs?: number | undefined;
  /**
   * Longest time the guest is kept stopped, in ms, 1..2^31 - 1; default 120,000. After that it runs on here, and what it was
   * stopped for fails. With `alreadyPaused`, longest time for what follows the first pass.
   */
  readonly stopLimitMs?: number | undefined;
}

export const GUEST_LIMITS = {
  guestTimeoutMs: {
    min: 1,
    max: MAX_MS,
    default: 30_000,
    unit: 'ms',
    doc: 'longest time for one pause, resume or throttle of the guest',
  },
  stopLimitMs: {
    min: 1,
    max: MAX_MS,
    default: 120_000,
    unit: 'ms',
    doc: 'longest time the guest is kept stopped; after it, the guest runs on here',
  },
} as const satisfies OptionTable<GuestLimits>;

export const GUEST_OPTIONS = {
  pause: { doc: 'stops the guest' },
  resume: { doc: 'lets it run again' },
  throttle: { doc: 'slows it down, further with each step; step 0 is full speed' },
  confirmStopped: { doc: 'rejects if the guest does not stand still any more; called before the commit' },
  pausedBefore: { doc: 'whether the guest stood still before the last pause' },
  alreadyPaused: {
    default: false,
    doc: 'the guest is stopped already: it is neither paused nor resumed',
  },
} as const satisfies OptionTable<GuestOptions>;

/**
 * Refuses what does not stop a guest: one that runs on would be in two places.
 *
 * @throws TypeError (`ERR_INVALID_ARG_TYPE`)
 */
export function checkGuestCallbacks(callbacks: GuestCallbacks): void {
  const { pause, resume, throttle, confirmStopped, pausedBefore } = callbacks;
  checkFunction('pause', pause);
  checkFunction('resume', resume);
  if (throttle !== undefined) checkFunction('throttle', throttle);
  if (confirmStopped !== undefined) checkFunction('confirmStopped', confirmStopped);
  if (pausedBefore !== undefined) checkFunction('pausedBefore', pausedBefore);
}

/**
 * The callbacks that stop the guest.
 *
 * @returns undefined if it is already paused
 * @throws TypeError (`ERR_INVALID_ARG_TYPE`, `ERR_INVALID_ARG_VALUE`) for neither of both, or both
 */
export function callbacksOf(options: GuestOptions): GuestCallbacks | undefined {
  const { alreadyPaused = false, pause, resume, throttle } = options;
  if (typeof alreadyPaused !== 'boolean') throw invalidTypeError('alreadyPaused', 'a boolean', alreadyPaused);
  if (!alreadyPaused) {
    if (pause === undefined && resume === undefined) {
      throw invalidTypeError('options', 'an object with pause and resume, or alreadyPaused', options);
    }
    checkGuestCallbacks(options as GuestCallbacks);
    return options as GuestCallbacks;
  }
  if (pause === undefined && resume === undefined && throttle === undefined) return undefined;
  throw invalidValueError(
    'The "alreadyPaused" option excludes "pause", "resume" and "throttle": none would be called',
  );
}
