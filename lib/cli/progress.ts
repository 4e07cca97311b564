import { SingleBar } from 'cli-progress';
import type { PassProgress } from '../io/pass-progress.js';
import type { ReceiveProgress } from '../migration/destination.js';
import { formatBytes, formatCount } from './format.js';
import type { Output } from './program.js';

const BAR_STEPS = 1000;
const LINE_INTERVAL_MS = 1000;

/** Shows how a migration goes on, to a person. */
export interface ProgressDisplay<Progress = PassProgress> {
  update(progress: Progress): void;
  /** Leaves the terminal as it was; whatever was shown stays readable. */
  stop(): void;
}

/** A bar for each pass on a terminal, plain lines anywhere else. */
export function createProgressDisplay(stderr: Output['stderr']): ProgressDisplay {
  return stderr.isTTY === true ? new PassBars(stderr) : new PlainLines(stderr);
}

/** The same for the destination, which cannot know how much is still to come: one line. */
export function createReceiveDisplay(stderr: Output['stderr']): ProgressDisplay<ReceiveProgress> {
  return stderr.isTTY === true ? new ReceiveLine(stderr) : new ReceiveLines(stderr);
}

class PassBars implements ProgressDisplay {
  readonly #stderr: Output['stderr'];
  #bar: SingleBar | undefined;
  #pass = 0;

  constructor(stderr: Output['stderr']) {
    this.#stderr = stderr;
  }

  update(progress: PassProgress): void {
    if (progress.pass !== this.#pass) this.#begin(progress);
    this.#bar?.update(Math.round(progress.scanned * BAR_STEPS), fields(progress));
  }

  stop(): void {
    this.#bar?.stop();
    this.#bar = undefined;
  }

  #begin(progress: PassProgress): void {
    this.stop();
    this.#pass = progress.pass;
    this.#bar = new SingleBar({
      stream: this.#stderr,
      format: '{title} [{bar}] {percentage}%  {entries} entries  {rate}  {changed}',
      barsize: 16,
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

  update(progress: PassProgress): void {
    const now = performance.now();
    if (!progress.complete && now - this.#lastLineAt < LINE_INTERVAL_MS) return;
    this.#lastLineAt = now;
    const { title, entries, rate, changed } = fields(progress);
    const percent = Math.floor(progress.scanned * 100);
    this.#stderr.write(`${title} ${percent}%: ${entries} entries, ${rate}${changed && `, ${changed}`}\n`);
  }

  stop(): void {
    // Every line is complete.
  }
}

/** One line that changes in its place. */
class ReceiveLine implements ProgressDisplay<ReceiveProgress> {
  readonly #stderr: Output['stderr'];
  #bar: SingleBar | undefined;

  constructor(stderr: Output['stderr']) {
    this.#stderr = stderr;
  }

  update(progress: ReceiveProgress): void {
    const text = receiveText(progress);
    if (this.#bar !== undefined) {
      this.#bar.update(0, { text });
      return;
    }
    const look = { stream: this.#stderr, format: '{text}', hideCursor: true, linewrap: false };
    this.#bar = new SingleBar({ ...look, gracefulExit: false });
    this.#bar.start(1, 0, { text });
  }

  stop(): void {
    this.#bar?.stop();
    this.#bar = undefined;
  }
}

/** A line a second. */
class ReceiveLines implements ProgressDisplay<ReceiveProgress> {
  readonly #stderr: Output['stderr'];
  #lastLineAt = performance.now();

  constructor(stderr: Output['stderr']) {
    this.#stderr = stderr;
  }

  update(progress: ReceiveProgress): void {
    const now = performance.now();
    if (now - this.#lastLineAt < LINE_INTERVAL_MS) return;
    this.#lastLineAt = now;
    this.#stderr.write(`${receiveText(progress)}\n`);
  }

  stop(): void {
    // Every line is complete.
  }
}

function receiveText({ pass, bytes, validEntries }: ReceiveProgress): string {
  return `pass ${pass}: ${formatCount(validEntries)} entries, ${formatBytes(bytes)} received`;
}

function fields(progress: PassProgress): Readonly<Record<'title' | 'entries' | 'rate' | 'changed', string>> {
  const { complete, changingEntries } = progress;
  return {
    title: `pass ${progress.pass}${progress.live ? '' : ', guest stopped'}`,
    entries: formatCount(progress.entries),
    rate: `${formatBytes(progress.bytesPerSecond)}/s`,
    // Of a complete pass, that is what its entries are; and before the second nobody knows.
    changed:
      complete || changingEntries === undefined
        ? ''
        : `${formatCount(changingEntries)} changed in the last pass`,
  };
}
