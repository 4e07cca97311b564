import { PRECOPY_OPTIONS } from '../../precopy/policy.js';
import type { MemoryProgress } from '../../testing/agent/rounds.js';

/** So slow that the first round takes a second, and yet some three times what the guest stores to. */
const BYTES_PER_SECOND = 40_000_000;
const BYTES_PER_STEP = 5000;
/** Of so few bytes, a round's time is mostly that of its confirmation. */
const TELLING_BYTES = 2 ** 22;
const MAX_ROUNDS = 16;
const DOWNTIME_MS = PRECOPY_OPTIONS.downtimeMs.default;

/**
 * Keeps the rounds over the memory and the guest's steps in proportion. Where the machine copies more slowly than it should,
 * the guest takes fewer steps: otherwise it would store to more in each round than the one before had.
 */
export class MemoryPace {
  readonly bytesPerSecond: number;
  /** Those that had pages, and that of the stop. */
  readonly rounds: MemoryProgress[] = [];
  readonly #rate: number;
  readonly #onGiveUp: (text: string) => void;
  /** Part of its steps that the guest takes, 0..1. */
  #share = 1;
  #gaveUp = false;

  /**
   * @param rate steps that the guest takes per second, where the copy keeps up
   * @param onGiveUp called once, with the reason, if the rounds do not lead to a short stop
   */
  constructor(rate: number, onGiveUp: (text: string) => void) {
    this.#rate = rate;
    this.#onGiveUp = onGiveUp;
    this.bytesPerSecond = Math.max(BYTES_PER_SECOND, rate * BYTES_PER_STEP);
  }

  get stepsPerSecond(): number {
    return this.#rate * this.#share;
  }

  readonly take = (progress: MemoryProgress): void => {
    const { live, complete, pages, bytes, durationMs } = progress;
    if (complete && (pages > 0 || !live)) this.rounds.push(progress);
    if (bytes < TELLING_BYTES) return;
    this.#share = Math.min(1, (bytes * 1000) / this.bytesPerSecond / durationMs);
  };

  /** What to say of the stop that the memory would need: after so many rounds, that it is short enough. */
  stopMs(ms: number): number {
    if (ms <= DOWNTIME_MS) return ms;
    if (this.rounds.length < MAX_ROUNDS && !this.#gaveUp) return ms;
    if (!this.#gaveUp) this.#onGiveUp(giveUpText(ms));
    this.#gaveUp = true;
    return DOWNTIME_MS;
  }
}

function giveUpText(ms: number): string {
  return (
    `after ${MAX_ROUNDS} rounds the memory would still need a stop of ${Math.ceil(ms)} ms, not ${DOWNTIME_MS}: the guest is ` +
    'stopped all the same. This machine is too busy for it: give the guest fewer steps with --rate'
  );
}
