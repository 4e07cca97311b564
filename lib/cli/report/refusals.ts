import { describeError } from '../errors/describe-error.js';
import type { EventReporter } from './event-reporter.js';

const REPEAT_MS = 1000;

interface Refusal {
  readonly from: string | undefined;
  readonly message: string;
  /** Times since the last report. */
  count: number;
}

/**
 * Reports connections that were closed unserved: each cause and peer at once, and then once a second how often, as long as
 * it goes on. A flood of connections must not become a flood of lines.
 */
export class Refusals {
  readonly #reporter: EventReporter;
  readonly #recent = new Map<string, Refusal>();
  #timer: NodeJS.Timeout | undefined;

  constructor(reporter: EventReporter) {
    this.#reporter = reporter;
  }

  readonly add = (reason: unknown, from?: string): void => {
    const message = describeError(reason);
    const key = `${from} ${message}`;
    const recent = this.#recent.get(key);
    if (recent !== undefined) {
      recent.count++;
      return;
    }
    this.#recent.set(key, { from, message, count: 0 });
    this.#say({ from, message, count: 1 });
    this.#timer ??= setInterval(this.#tell, REPEAT_MS).unref();
  };

  /** Reports what has not been reported. */
  close(): void {
    this.#tell();
    clearInterval(this.#timer);
  }

  readonly #tell = (): void => {
    for (const [key, refusal] of this.#recent) {
      if (refusal.count === 0) this.#recent.delete(key);
      else this.#say(refusal);
      refusal.count = 0;
    }
  };

  #say({ from, message, count }: Refusal): void {
    const times = count === 1 ? '' : ` (${count} times)`;
    const text = `refused ${from ?? 'a peer'}${times}: ${message}`;
    this.#reporter.say(text, 'refused', { from, message, count });
  }
}
