import { SingleBar } from 'cli-progress';
import type { PassProgress } from '../../precopy/pass-progress.js';
import type { ReceiveProgress } from '../../migration/destination/receive.js';
import type { Output } from '../output.js';
import { formatBytes, formatCount } from './format.js';

const BAR_STEPS = 1000;
const LINE_INTERVAL_MS = 1000;

/** Shows the progress of a migration to a person. */
export interface ProgressDisplay<Progress = PassProgress> {
  readonly update: (progress: Progress) => void;
  /** Leaves the terminal as it was; what was shown stays readable. */
  stop(): void;
}

/** A bar for each pass on a terminal, plain lines anywhere else. */
export function createProgressDisplay(stderr: Output['stderr']): ProgressDisplay {
  return display(PASSES, stderr);
}

/** For the destination, which cannot know how much is still to come: one line. */
export function createReceiveDisplay(stderr: Output['stderr']): ProgressDisplay<ReceiveProgress> {
  return createLineDisplay(stderr, receiveText);
}

/** A line of text: it changes in its place on a terminal, and comes once a second anywhere else. */
export function createLineDisplay<Progress>(
  stderr: Output['stderr'],
  text: (progress: Progress) => string,
): ProgressDisplay<Progress> {
  const line = {
    bar: () => 1,
    part: () => 0,
    format: '{text}',
    words: (progress: Progress) => ({ text: text(progress) }),
    line: text,
    isMilestone: () => false,
  };
  return display(line, stderr);
}

/** How a kind of progress looks. */
interface Look<Progress> {
  /** Number of the bar: another one begins a line of its own. */
  readonly bar: (progress: Progress) => number;
  /** Part of the bar that is done, 0..1. */
  readonly part: (progress: Progress) => number;
  /** The bar's line, with names of `words`. */
  readonly format: string;
  readonly words: (progress: Progress) => Readonly<Record<string, string>>;
  /** The line without a terminal. */
  readonly line: (progress: Progress) => string;
  /** Whether that line is due at once. */
  readonly isMilestone: (progress: Progress) => boolean;
}

const PASSES: Look<PassProgress> = {
  bar: ({ pass }) => pass,
  part: ({ scanned }) => scanned,
  format: '{title} [{bar}] {percentage}%  {entries} entries  {bytes}  {rate}  {changed}',
  words: passWords,
  line: (progress) => {
    const { title, entries, bytes, rate, changed } = passWords(progress);
    const percent = Math.floor(progress.scanned * 100);
    return `${title} ${percent}%: ${entries} entries, ${bytes}, ${rate}${changed && `, ${changed}`}`;
  },
  isMilestone: ({ complete }) => complete,
};

function display<Progress>(look: Look<Progress>, stderr: Output['stderr']): ProgressDisplay<Progress> {
  return stderr.isTTY === true ? new Bars(look, stderr) : new Lines(look, stderr);
}

class Bars<Progress> implements ProgressDisplay<Progress> {
  readonly #look: Look<Progress>;
  readonly #stderr: Output['stderr'];
  #bar: SingleBar | undefined;
  #number = 0;

  constructor(look: Look<Progress>, stderr: Output['stderr']) {
    this.#look = look;
    this.#stderr = stderr;
  }

  readonly update = (progress: Progress): void => {
    const { bar, part, words } = this.#look;
    if (bar(progress) !== this.#number) this.#begin(progress);
    this.#bar?.update(Math.round(part(progress) * BAR_STEPS), words(progress));
  };

  stop(): void {
    this.#bar?.stop();
    this.#bar = undefined;
  }

  #begin(progress: Progress): void {
    this.stop();
    const { bar, format, words } = this.#look;
    this.#number = bar(progress);
    this.#bar = new SingleBar({
      stream: this.#stderr,
      format,
      barsize: 16,
      hideCursor: true,
      linewrap: false,
      // The command handles signals itself.
      gracefulExit: false,
    });
    this.#bar.start(BAR_STEPS, 0, words(progress));
  }
}

/** A line a second, and one for every milestone. */
class Lines<Progress> implements ProgressDisplay<Progress> {
  readonly #look: Look<Progress>;
  readonly #stderr: Output['stderr'];
  #lastLineAt = performance.now();

  constructor(look: Look<Progress>, stderr: Output['stderr']) {
    this.#look = look;
    this.#stderr = stderr;
  }

  readonly update = (progress: Progress): void => {
    const { line, isMilestone } = this.#look;
    const now = performance.now();
    if (!isMilestone(progress) && now - this.#lastLineAt < LINE_INTERVAL_MS) return;
    this.#lastLineAt = now;
    this.#stderr.write(`${line(progress)}\n`);
  };

  stop(): void {
    // Every line is complete.
  }
}

function receiveText({ pass, bytes, validEntries }: ReceiveProgress): string {
  return `pass ${pass}: ${formatCount(validEntries)} entries, ${formatBytes(bytes)} received`;
}

function passWords(
  progress: PassProgress,
): Readonly<Record<'title' | 'entries' | 'bytes' | 'rate' | 'changed', string>> {
  const { complete, changingEntries } = progress;
  return {
    title: `pass ${progress.pass}${progress.live ? '' : ', guest stopped'}`,
    entries: formatCount(progress.entries),
    bytes: formatBytes(progress.bytes),
    rate: `${formatBytes(progress.bytesPerSecond)}/s`,
    // A complete pass shows it as its entries; before the second pass it is not known.
    changed:
      complete || changingEntries === undefined
        ? ''
        : `${formatCount(changingEntries)} changed in the last pass`,
  };
}
