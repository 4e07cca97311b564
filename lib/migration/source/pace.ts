import { HtabStateError } from '../../base/errors.js';
import { within } from '../../base/time.js';
import { replacedTableError } from '../../io/other-table.js';
import type { PassReport } from '../../precopy/pass-report.js';
import { migrationError } from '../errors.js';
import type { Connection } from '../wire/connection.js';
import type { PassSender } from './pass-sender.js';
import type { SendSettings } from './send-settings.js';

/** How often a rest that is far is asked again. */
const ASK_MS = 500;
/** How often a table is looked at between passes. */
const LOOK_MS = 2000;
/** Shortest wait between two passes. */
const MIN_WAIT_MS = 1000;

/**
 * When passes are due while the rest of the guest is far from done: so seldom that they cost no more than their share of a
 * CPU. Between them the table is looked at: a guest that goes radix, is reset or has its table resized is not waited for.
 */
export class Pace {
  readonly #connection: Connection;
  readonly #sender: PassSender;
  readonly #settings: SendSettings;
  /** On `performance`'s clock; the first pass is due at once. */
  #dueAt = 0;
  #lookAt = 0;
  /** The last look found what a replaced table shows, and a guest that changes all of it: a pass and another look tell. */
  #suspected = false;
  /** A pass before its time has been made for that. Another one waits until it is due. */
  #hurried = false;

  constructor(connection: Connection, sender: PassSender, settings: SendSettings) {
    this.#connection = connection;
    this.#sender = sender;
    this.#settings = settings;
  }

  get isDue(): boolean {
    return performance.now() >= this.#dueAt || (this.#suspected && !this.#hurried);
  }

  /**
   * What the rest would need of the stop now, in ms; 0 without one. Rejects if the connection ends first.
   *
   * @throws HtabStateError `busy` if `stopMs` does not settle in time
   * @throws HtabError `ERR_HTAB_MIGRATION` if it fails, or gives what is no time; the signal's reason
   */
  async restMs(): Promise<number> {
    const { rest, guestTimeoutMs } = this.#settings;
    if (rest === undefined) return 0;
    // What it rejects with may look like a failure after which this migration begins again.
    const asked = (async () => await rest.stopMs())().catch((cause: unknown) => {
      throw migrationError("the rest's stopMs failed; the guest runs on", cause);
    });
    const late = (): Error =>
      new HtabStateError('busy', `the rest's stopMs did not settle within ${guestTimeoutMs} ms`);
    const ms: unknown = await this.#connection.during(within(asked, guestTimeoutMs, undefined, late));
    if (typeof ms === 'number' && ms >= 0) return ms;
    throw migrationError(
      `the rest's stopMs gave ${String(ms)}; it must give a number of ms from 0 on, or Infinity while the rest is far from done`,
    );
  }

  /** Waits a little, and looks at the table if it is time to. */
  async wait(): Promise<void> {
    await this.#sender.idle(ASK_MS);
    if (performance.now() < this.#lookAt) return;
    this.#suspected = await this.#look();
  }

  /**
   * Sets the time of the next pass, after one that was made.
   *
   * @throws HtabStateError `replaced` if the table is another than the one that was read
   */
  async scheduleNext(report: PassReport): Promise<void> {
    const now = performance.now();
    const waitMs = Math.max(MIN_WAIT_MS, costMs(report) * (1 / this.#settings.scanShare - 1));
    this.#hurried = this.#suspected && now < this.#dueAt;
    // A pass before its time has not used up the wait after the one before it.
    this.#dueAt = (this.#hurried ? this.#dueAt : now) + waitMs;
    if (!this.#suspected) return;
    // The pass has brought what is known of the table up to date.
    if (await this.#look()) throw replacedTableError();
    this.#suspected = false;
  }

  async #look(): Promise<boolean> {
    const replaced = await this.#sender.look();
    this.#lookAt = performance.now() + LOOK_MS;
    return replaced;
  }
}

/**
 * Upper bound of a pass's CPU time. The first one counts for nothing: it is the copy that a migration is there for, and the
 * next takes no such time.
 */
function costMs({ changedEntries, durationMs, idleMs, confirmMs }: PassReport): number {
  return changedEntries === undefined ? 0 : durationMs - idleMs - confirmMs;
}
