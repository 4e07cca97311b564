import { readFileSync, readdirSync } from 'node:fs';

/** A process that lives as long as the soak, and what must not grow. */
export interface Watched {
  readonly name: string;
  readonly pid: number;
  /** Bytes of the journal that it keeps. */
  readonly journalBytes?: number;
}

/** What a round did, each thing as often as it did it. */
export type Counts = Readonly<Record<string, number>>;

export interface SoakOptions {
  readonly seed: number;
  readonly minutes: number;
  /** Ends the soak earlier, after so many moves. */
  readonly moves: number;
  /** Does what the seed says, and leaves nothing open. `moved` counts the guests that have moved. */
  readonly round: (seed: number) => Promise<Counts>;
  /** Called after each round: collects the garbage of each process first. */
  readonly watched: () => Promise<readonly Watched[]>;
  /** Command that makes one round again. */
  readonly again: (seed: number) => string;
  readonly say: (line: string) => void;
}

const HOUR_MS = 3_600_000;
/** A soak of less than six hours has six periods all the same: their memory is compared. */
const PERIODS = 6;
/** A journal is continued in a short one at 1 MiB, and that is tried after each decision. */
const JOURNAL_BYTES = 2 << 20;
/**
 * A process that does not leak ends each period with the same memory, give or take what its heap and its allocator keep
 * back: its least memory in a period may be so much more than in the second one. The first warms up.
 */
const GROWTH_BYTES = 16 << 20;
/** A connection that has been closed is gone from the other process a little later. */
const SETTLE_MS = 10_000;
const LOOK_MS = 20;

/** What one process takes. */
class Usage {
  readonly #name: string;
  /** After the first round, which opens what stays open. */
  readonly #descriptors: number;
  #least = Infinity;
  #bound = Infinity;
  #periods = 0;
  #last: Watched;

  constructor(watched: Watched) {
    this.#name = watched.name;
    this.#last = watched;
    this.#descriptors = descriptorsOf(watched.pid);
  }

  async look(watched: Watched): Promise<void> {
    this.#last = watched;
    const { pid, journalBytes = 0 } = watched;
    for (let waited = 0; descriptorsOf(pid) > this.#descriptors; waited += LOOK_MS) {
      if (waited > SETTLE_MS)
        throw new Error(
          `${this.#name} has ${descriptorsOf(pid)} descriptors, and had ${this.#descriptors} after the first round`,
        );
      await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
    }
    if (journalBytes > JOURNAL_BYTES)
      throw new Error(`the journal of ${this.#name} has ${journalBytes} bytes`);
    this.#least = Math.min(this.#least, residentBytes(pid));
  }

  /** @returns what the period's line says */
  endPeriod(): string {
    const least = Math.min(this.#least, residentBytes(this.#last.pid));
    if (least > this.#bound)
      throw new Error(
        `${this.#name} takes ${least} bytes at least, and may take ${this.#bound} by its first periods`,
      );
    if (++this.#periods === 2) this.#bound = least + GROWTH_BYTES;
    this.#least = Infinity;
    const { pid, journalBytes } = this.#last;
    const journal = journalBytes === undefined ? '' : `, journal ${kib(journalBytes)} KiB`;
    return `${this.#name}: ${descriptorsOf(pid)} descriptors, ${kib(least)} KiB${journal}`;
  }
}

/**
 * Makes rounds until the time is over or enough guests have moved. Each has the next seed.
 *
 * @throws Error at the first thing that must not be, with the command that repeats it
 */
export async function soak(options: SoakOptions): Promise<void> {
  const { minutes, say } = options;
  const begun = performance.now();
  const periodMs = Math.min(HOUR_MS, (minutes * 60_000) / PERIODS);
  const counts: Record<string, number> = {};
  const usages = new Map<string, Usage>();
  const moves = (): number => counts['moved'] ?? 0;
  let { seed } = options;
  let period = 1;
  const tell = (): void => {
    const said = [...usages.values()].map((usage) => usage.endPeriod());
    const what = Object.entries(counts).map(([name, count]) => `${name} ${count}`);
    const hours = ((performance.now() - begun) / HOUR_MS).toFixed(2);
    say([`${hours} h, seeds ${options.seed} to ${seed - 1}`, ...what, ...said].join('; '));
  };
  for (; performance.now() < begun + minutes * 60_000 && moves() < options.moves; seed++) {
    try {
      const done = await options.round(seed);
      for (const [name, count] of Object.entries(done)) counts[name] = (counts[name] ?? 0) + count;
      for (const watched of await options.watched()) {
        const usage = usages.get(watched.name) ?? new Usage(watched);
        usages.set(watched.name, usage);
        await usage.look(watched);
      }
    } catch (error) {
      throw new Error(`seed ${seed}, after ${moves()} moves; once more: ${options.again(seed)}`, {
        cause: error,
      });
    }
    if (performance.now() < begun + period * periodMs) continue;
    period++;
    tell();
  }
  tell();
  say(`${moves()} moves, and nothing that must not be`);
}

function descriptorsOf(pid: number): number {
  return readdirSync(`/proc/${pid}/fd`).length;
}

function residentBytes(pid: number): number {
  const [, kilobytes] = /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8')) ?? [];
  return Number(kilobytes) * 1024;
}

function kib(bytes: number): number {
  return Math.round(bytes / 1024);
}
