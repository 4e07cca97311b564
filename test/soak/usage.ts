import { readdirSync, readFileSync, statSync } from 'node:fs';

/** What a process takes, that must not grow. */
export interface Taken {
  readonly descriptors: number;
  /** Resident memory. */
  readonly memoryBytes: number;
  readonly journalBytes: number;
}

/** A process that lives as long as the soak does, or another one in its place. */
export interface Watched {
  readonly name: string;
  readonly take: () => Taken;
}

/** A journal is continued in a short one at 1 MiB, and that is tried after each decision. */
const JOURNAL_BYTES = 2 << 20;
/**
 * A process that does not leak has the same memory after the collections of each period, but for what its heap and its
 * allocator keep back: the least of a period may be so much more than that of the second one. The first warms up.
 */
const GROWTH_BYTES = 32 << 20;
/** A connection that has been closed is gone from the other process a little later. */
const SETTLE_MS = 10_000;
const LOOK_MS = 20;

/** The rules for one process. */
export class Usage {
  readonly #name: string;
  /** After the first round, which opens what stays open. */
  readonly #descriptors: number;
  #last: Taken;
  #leastBytes = Infinity;
  #mostBytes = Infinity;
  #periods = 0;

  constructor({ name, take }: Watched) {
    this.#name = name;
    this.#last = take();
    this.#descriptors = this.#last.descriptors;
  }

  /** To be called when nothing goes on, and all garbage has been collected. @throws Error for a process that has grown */
  async look({ take }: Watched): Promise<void> {
    const descriptors = this.#descriptors;
    this.#last = take();
    for (let waited = 0; this.#last.descriptors > descriptors; waited += LOOK_MS) {
      if (waited >= SETTLE_MS)
        throw new Error(
          `${this.#name} has ${this.#last.descriptors} descriptors, but had ${descriptors} after the first round`,
        );
      await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
      this.#last = take();
    }
    const { memoryBytes, journalBytes } = this.#last;
    if (journalBytes > JOURNAL_BYTES)
      throw new Error(
        `the journal of ${this.#name} has ${journalBytes} bytes; its limit is ${JOURNAL_BYTES}`,
      );
    this.#leastBytes = Math.min(this.#leastBytes, memoryBytes);
  }

  /** @returns what the period's line says. @throws Error for a process that takes more memory than it did */
  endPeriod(): string {
    const least = Math.min(this.#leastBytes, this.#last.memoryBytes);
    if (least > this.#mostBytes)
      throw new Error(
        `${this.#name} uses at least ${least} bytes of memory; its limit since the second period is ${this.#mostBytes}`,
      );
    if (++this.#periods === 2) this.#mostBytes = least + GROWTH_BYTES;
    this.#leastBytes = Infinity;
    const { descriptors, journalBytes } = this.#last;
    return `${this.#name}: ${descriptors} descriptors, ${kib(least)} KiB, journal ${kib(journalBytes)} KiB`;
  }
}

/** A process, as /proc shows it, and its journal. */
export function processOf(name: string, pid: number, journal: string): Watched {
  const take = (): Taken => {
    const [, kilobytes] = /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8')) ?? [];
    return {
      descriptors: readdirSync(`/proc/${pid}/fd`).length,
      memoryBytes: Number(kilobytes) * 1024,
      journalBytes: statSync(journal).size,
    };
  };
  return { name, take };
}

function kib(bytes: number): number {
  return Math.round(bytes / 1024);
}
