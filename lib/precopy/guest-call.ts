import { tryBriefly } from '../base/time.js';

/** A callback often ends itself at the very limit that it has here: wait this much longer for it, in ms. */
const GRACE_MS = 1000;

/** A call of a callback, which goes on by itself after a timeout. */
export class GuestCall {
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
   * @returns itself if it has not: what is done about it now may come before it, and must be done again after it
   */
  async unlessSettled(timeoutMs: number): Promise<this | undefined> {
    const leftMs = this.#begunAt + timeoutMs - performance.now();
    const waitMs = Math.max(leftMs, Math.min(GRACE_MS, timeoutMs));
    await tryBriefly(() => this.result, waitMs);
    return this.#settled ? undefined : this;
  }

  /** Once it has settled, undoes what it has done; a failure has no caller left to report to. */
  undo(undo: () => Promise<void>): void {
    this.result
      .catch(() => undefined)
      .then(undo)
      .catch(() => undefined);
  }
}
