import { checkFunction, checkObject } from '../base/arguments.js';

/** What a call of the agent is told. */
export interface RestCall {
  /** Aborts when the connection, the migration or the stop's time has ended: nothing waits for the call any more. */
  readonly signal: AbortSignal;
  /** Names the migration on both sides. */
  readonly migrationId: string;
}

/** Longest state that travels beside the table, in bytes: 16 MiB. */
export const MAX_STATE_BYTES = 2 ** 24;

/**
 * All of a guest but its table, at the source: memory, registers, devices. The agent moves it over ways of its own, and the
 * migration asks how far it is, and commits only the whole guest.
 */
export interface SourceRest {
  /**
   * How long the guest would have to stand still for the rest if it were stopped now, `finish` here and `accept` at the
   * destination included, in ms: 0 or more; `Infinity` while the rest is far from done. It is added to the predicted stop.
   * Asked after every pass, and about twice a second between passes; it should answer at once. A call that goes on when its
   * connection ends is not waited for, and the next connection asks again meanwhile. While it gives `Infinity` only `signal`
   * of the migration ends the wait: abort that if the rest will never be done.
   */
  readonly stopMs: () => number | Promise<number>;
  /**
   * Finishes the rest. Called when the guest stands still, beside the last passes over its table. Resolves once all else
   * is at the destination. It is the place for the last dirty log, which brings C bits to the table: a pass follows that
   * begins once this has resolved.
   *
   * It is called again after a connection has broken before the commit: the guest has run meanwhile. It is never called
   * while an earlier call goes on: the next attempt waits `guestTimeoutMs` for that, the guest running, and then fails (`busy`).
   * What it rejects with ends the migration; the guest runs on. It is ignored once its signal has aborted.
   *
   * @param call `deadlineMs`: the stop's time limit (`stopLimitMs`), in ms from when the guest was stopped; then the signal aborts
   * @returns state that this connection carries: registers, devices; at most 16 MiB. Default: none
   */
  readonly finish: (call: RestCall & { readonly deadlineMs: number }) => Promise<Uint8Array | undefined>;
}

/** All of a guest but its table, at the destination. */
export interface DestinationRest {
  /**
   * Puts the guest together. Called when the whole table is here and has been compared. Resolves once memory, registers
   * and devices are in place: only then does the source hear that this side is prepared.
   *
   * It is called again, with a new state, if the connection breaks before the commit and the source comes back. It is never
   * called while an earlier call goes on: `receiveHpt` waits `guestTimeoutMs` for that, and then fails (`busy`). Once its signal
   * has aborted it must put nothing in its place any more, and what it rejects with is ignored. What it rejects with before ends the
   * migration; the guest runs on at the source.
   *
   * @param state what the source's `finish` gave; empty if nothing
   */
  readonly accept: (state: Uint8Array, call: RestCall) => Promise<void>;
  /**
   * Throws away what has come of the guest. Called once at every end but the commit, before `receiveHpt` rejects, also if
   * no source came; not where it is in doubt, nor for invalid arguments and a VM that is in use. An `accept` that goes on has
   * `guestTimeoutMs` to end before. What it rejects with is reported beside the reason.
   */
  readonly discard: (reason: unknown) => Promise<void>;
  /**
   * Lets the guest run. Called once, after the decision is in the journal; the source need not have heard of it. A process that dies
   * before or in it leaves that to its successor, which finds `committed` in the journal. If it fails, the guest is here and does not run:
   * `receiveHpt` rejects with `ERR_HTAB_GUEST_STOPPED`.
   */
  readonly run: () => Promise<void>;
}

/** @throws TypeError (`ERR_INVALID_ARG_TYPE`) */
export function checkSourceRest(rest: SourceRest): void {
  checkFunctions(rest, ['stopMs', 'finish']);
}

/** @throws TypeError (`ERR_INVALID_ARG_TYPE`) */
export function checkDestinationRest(rest: DestinationRest): void {
  checkFunctions(rest, ['accept', 'discard', 'run']);
}

/** A guest without one of them would lose a part of itself, and only when it has been stopped. */
function checkFunctions(rest: unknown, names: readonly string[]): void {
  checkObject('rest', rest);
  for (const name of names) checkFunction(`rest.${name}`, (rest as Readonly<Record<string, unknown>>)[name]);
}
