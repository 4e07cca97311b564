import { migrationError, duplicateIdError } from '../errors.js';
import { HtabJournalError, type JournalFault } from './journal-damage.js';
import type { JournalEntry, Side } from './journal.js';

const KEPT_DECISIONS = 1000;
/** Faulty lines that are named in an error. */
const NAMED_FAULTS = 8;

interface Known {
  readonly entry: JournalEntry;
  /** Number of the line by which it was first pending. */
  readonly line: number;
}

const WHAT_TO_DO: Readonly<Record<Side, string>> = {
  source: 'keep its guest stopped, ask the destination, and then begin another journal',
  destination:
    "do not run its guest anywhere until the source's journal has been read, and begin another one",
};

/**
 * What the lines of a journal say together, in the order in which they were written.
 *
 * - A whole decision is final, unless a damaged line stands between the beginning of its migration and itself: that line
 *   may have been the first decision.
 * - A damaged line may have said anything about anything that is not decided: it is in doubt then, known or not.
 * - A line that is cut was the last one: a write that was never finished, or all that is left of a file that has lost its
 *   end, with whatever came after it. A destination is in doubt about what was pending by then; of what it does not know
 *   it says so, which claims nothing. A source asks the destination about what is pending; it is in doubt about what it
 *   does not know.
 */
export class JournalEntries {
  /** The line that the file ends in, if it is faulty. */
  tail: JournalFault | undefined;
  readonly #file: string;
  readonly #known = new Map<string, Known>();
  readonly #faults: Readonly<Record<JournalFault['kind'], JournalFault[]>> = { damaged: [], cut: [] };
  #faultyLines = 0;

  /** @param file its name, for errors */
  constructor(file = '') {
    this.#file = file;
  }

  /** Whether all that was ever written is known. */
  get isWhole(): boolean {
    return this.#faultyLines === 0 && this.tail === undefined;
  }

  get isEmpty(): boolean {
    return this.#known.size === 0 && this.#faultyLines === 0;
  }

  /** @param line its number in the file */
  add(entry: JournalEntry, line = 0): void {
    const key = keyOf(entry.side, entry.migrationId);
    const before = this.#known.get(key);
    if (before !== undefined && (isDecided(before) || this.#isDamagedAfter(before.line))) return;
    // What is decided stands after what was decided before it, whenever it was begun.
    if (entry.state !== 'pending') this.#known.delete(key);
    this.#known.set(key, { entry, line: before?.line ?? line });
  }

  addFault(fault: JournalFault): void {
    const faults = this.#faults[fault.kind];
    // The first ones are named, and the last one hides the most.
    if (faults.length === NAMED_FAULTS) faults.pop();
    faults.push(fault);
    this.#faultyLines++;
  }

  /** @throws HtabJournalError if a faulty line may say more about it than is known */
  find(side: Side, migrationId: string): JournalEntry | undefined {
    const known = this.#known.get(keyOf(side, migrationId));
    const faults = this.#faultsAbout(side, known);
    if (faults.length === 0) return known?.entry;
    throw new HtabJournalError(
      `${this.#describe(faults)}. It cannot tell how migration ${migrationId} ended at the ${side}: ${WHAT_TO_DO[side]}`,
      faults,
    );
  }

  /**
   * Of one side, the newest last.
   *
   * @throws HtabJournalError if there may be others, or one may be decided that is pending here
   */
  of(side: Side): JournalEntry[] {
    const known = [...this.#known.values()].filter(({ entry }) => entry.side === side);
    if (this.isWhole) return known.map(({ entry }) => entry);
    const faults = [...this.#damaged(), ...this.#cut()];
    const isProven = (one: Known): boolean => this.#faultsAbout(side, one).length === 0;
    throw new HtabJournalError(
      `${this.#describe(faults)}. It cannot tell how every migration at the ${side} ended: ${WHAT_TO_DO[side]}`,
      faults,
      known.filter(isProven).map(({ entry }) => entry),
      known.filter((one) => !isProven(one)).map(({ entry }) => entry),
    );
  }

  /** Everything undecided, and the last decisions: a source that asks for an older one gets `unknown`. */
  worthKeeping(): JournalEntry[] {
    const entries = [...this.#known.values()].map(({ entry }) => entry);
    const decided = entries.filter(({ state }) => state !== 'pending');
    const dropped = new Set(decided.slice(0, -KEPT_DECISIONS));
    return entries.filter((entry) => !dropped.has(entry));
  }

  /**
   * What is to be decided.
   *
   * @throws HtabJournalError as `find`
   * @throws HtabError `ERR_HTAB_MIGRATION` for a migration that was never begun
   */
  due(side: Side, migrationId: string): JournalEntry {
    const entry = this.find(side, migrationId);
    if (entry !== undefined) return entry;
    throw migrationError(`the journal has no migration ${migrationId} at the ${side}`);
  }

  /**
   * Makes sure that a migration can begin. A damaged journal takes no more of them: what comes of them would be in doubt
   * as well. One that was cut does, as what was cut stands before all that comes of them.
   *
   * @throws HtabError `ERR_HTAB_MIGRATION`
   */
  checkBegin(side: Side, migrationId: string): void {
    const known = this.#known.get(keyOf(side, migrationId));
    if (known !== undefined && isDecided(known)) throw duplicateIdError(migrationId);
    const faults = known === undefined ? this.#damaged() : this.#faultsAbout(side, known);
    if (faults.length === 0) return;
    throw migrationError(
      `${this.#describe(faults)}. It takes no more migrations: find out what it leaves open (kvm-htab resolve), and begin another one`,
    );
  }

  /** Lines that may say more about a migration than is known of it. */
  #faultsAbout(side: Side, known: Known | undefined): JournalFault[] {
    if (known !== undefined && isDecided(known)) return [];
    const hides = ({ line }: JournalFault): boolean =>
      side === 'source' ? known === undefined : known !== undefined && line > known.line;
    return [...this.#damaged(), ...this.#cut().filter(hides)];
  }

  #damaged(): JournalFault[] {
    return [...this.#faults.damaged, ...(this.tail?.kind === 'damaged' ? [this.tail] : [])];
  }

  #cut(): JournalFault[] {
    return [...this.#faults.cut, ...(this.tail?.kind === 'cut' ? [this.tail] : [])];
  }

  #isDamagedAfter(line: number): boolean {
    return (this.#faults.damaged.at(-1)?.line ?? 0) > line;
  }

  #describe(faults: readonly JournalFault[]): string {
    const named = faults.slice(0, NAMED_FAULTS).map(({ kind, line, byteOffset }) => {
      return `line ${line} (byte ${byteOffset}) is ${kind === 'cut' ? 'cut short' : 'damaged'}`;
    });
    const more = this.#faultyLines + (this.tail === undefined ? 0 : 1) - named.length;
    if (more > 0) named.push(`and ${more} more are faulty`);
    return `the journal ${this.#file} is not whole: ${named.join(', ')}`;
  }
}

function isDecided({ entry }: Known): boolean {
  return entry.state !== 'pending';
}

function keyOf(side: Side, migrationId: string): string {
  return `${side} ${migrationId}`;
}
