import { HtabStateError } from '../../base/errors.js';
import type { QmpConnection } from './connection.js';
import type { QmpEvent } from './messages.js';

/** Times the stop of a guest by QEMU's events, and ends what it is stopped for when that takes too long. */
export class GuestStop implements Disposable {
  readonly #listening: Disposable;
  readonly #limitMs: number;
  readonly #late = new AbortController();
  /** Ended by the caller's signal, or by a stop that takes too long. */
  readonly signal: AbortSignal;
  #timer: NodeJS.Timeout | undefined;
  #stoppedAt: number | undefined;
  #stopMs: number | undefined;

  /** @param limitMs longest stop */
  constructor(qmp: QmpConnection, limitMs: number, signal: AbortSignal | undefined) {
    this.#limitMs = limitMs;
    this.signal = signal === undefined ? this.#late.signal : AbortSignal.any([signal, this.#late.signal]);
    this.#listening = qmp.onEvent(this.#onEvent);
  }

  /** How long the guest stood still; undefined if it did not, or still does. */
  get stopMs(): number | undefined {
    return this.#stopMs;
  }

  [Symbol.dispose](): void {
    clearTimeout(this.#timer);
    this.#listening[Symbol.dispose]();
  }

  readonly #onEvent = ({ name, timeMs }: QmpEvent): void => {
    if (name === 'STOP') {
      this.#stoppedAt = timeMs;
      this.#timer = setTimeout(this.#giveUp, this.#limitMs);
    }
    if (name === 'RESUME' && this.#stoppedAt !== undefined) {
      clearTimeout(this.#timer);
      this.#stopMs = timeMs - this.#stoppedAt;
    }
  };

  readonly #giveUp = (): void => {
    const message = `the guest reached its stop limit of ${this.#limitMs} ms; allow more`;
    this.#late.abort(new HtabStateError('busy', message, { option: 'stopLimitMs' }));
  };
}
