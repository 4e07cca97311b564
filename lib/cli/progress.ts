import { SingleBar } from 'cli-progress';
import type { SendProgress } from '../migration/pass-sender.js';
import { formatBytes, formatCount } from './format.js';
import type { Output } from './program.js';

const BAR_STEPS = 1000;
const LINE_INTERVAL_MS = 1000;

/** Shows how a migration goes on, to a person. */
export interface ProgressDisplay {
  update(progress: SendProgress): void;
  /** Leaves the terminal as it was; whatever was shown stays readable. */
  stop(): void;
}

/** A bar for each pass on a terminal, plain lines anywhere else. */
export function createProgressDisplay(stderr: Output['stderr']): ProgressDisplay {
  return stderr.isTTY === true ? new PassBars(stderr) : new PlainLines(stderr);
}

class PassBars implements ProgressDisplay {
  readonly #stderr: Output['stderr'];
  #bar: SingleBar | undefined;
  #pass = 0;

  constructor(stderr: Output['stderr']) {
    this.#stderr = stderr;
  }

  update(progress: SendProgress): void {
    if (progress.pass !== this.#pass) this.#begin(progress);
    this.#bar?.update(Math.round(progress.scanned * BAR_STEPS), fields(progress));
  }

  stop(): void {
    this.#bar?.stop();
    this.#bar = undefined;
  }

  #begin(progress: SendProgress): void {
    this.stop();
    this.#pass = progress.pass;
    this.#bar = new SingleBar({
      stream: this.#stderr,
      format: '{title} [{bar}] {percentage}%  {entries} entries  {rate}  {changing} still changing',
      barsize: 24,
      hideCursor: true,
      linewrap: false,
      // Signals are the command's business.
      gracefulExit: false,
    });
    this.#bar.start(BAR_STEPS, 0, fields(progress));
  }
}

class PlainLines implements ProgressDisplay {
  readonly #stderr: Output['stderr'];
  #lastLineAt = performance.now();

  constructor(stderr: Output['stderr']) {
    this.#stderr = stderr;
  }

  update(progress: SendProgress): void {
    const now = performance.now();
    if (!progress.complete && now - this.#lastLineAt < LINE_INTERVAL_MS) return;
    this.#lastLineAt = now;
    const { title, entries, rate, changing } = fields(progress);
    const percent = Math.floor(progress.scanned * 100);
    this.#stderr.write(`${title} ${percent}%: ${entries} entries, ${rate}, ${changing} still changing\n`);
  }

  stop(): void {
    // Every line is complete.
  }
}

function fields(progress: SendProgress): { title: string; entries: string; rate: string; changing: string } {
  return {
    title: `pass ${progress.pass}${progress.live ? '' : ', guest stopped'}`,
    entries: formatCount(progress.entries),
    rate: `${formatBytes(progress.bytesPerSecond)}/s`,
    changing: progress.changingEntries === undefined ? '?' : formatCount(progress.changingEntries),
  };
}
