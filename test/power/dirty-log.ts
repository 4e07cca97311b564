import assert from 'node:assert/strict';
import { setTimeout as delay } from 'node:timers/promises';
import { compareTables } from '../../lib/hpt/compare.js';
import { HptTable } from '../../lib/hpt/table.js';
import { readTable } from '../../lib/io/read-table.js';
import { HptReader } from '../../lib/io/reader.js';
import { RecordCursor } from '../../lib/records/cursor.js';
import { foldRecords } from '../../lib/records/fold-records.js';
import { receiveHtab } from '../../lib/vm/kvm/handover.js';
import { VmmMemory } from './agent/vmm-memory.js';
import { CHECKER_ORDER, checkedStats, checkGoesOn, startChecker } from './checker.js';
import { mappedPages } from './checker-pages.js';
import { MemoryCopy, pagesOf } from './memory-copy.js';
import type { Host } from './host.js';
import type { Test } from './runner.js';
import type { Vmm } from './vmm.js';

const STORES = 100_000;
/** The guest is paused and everything compared each time it has stored so often. */
const STORES_PER_WINDOW = 5000;
const CHANGED = 0x80n;

/** KVM_GET_DIRTY_LOG beside passes over the table: both collect the hardware's C bits. */
export function dirtyLogSuite(test: Test, host: Host): void {
  test(
    'passes take no page from the dirty log, and the log takes no C from the passes, in 100,000 stores',
    async (t) => {
      await using guest = await startChecker(0);
      using memory = await VmmMemory.open(guest.control);
      await using watch = await Watch.begin(guest, memory);
      const begun = await checkedStats(guest);
      let windows = 0;
      for (let stores = begun.stores; stores < begun.stores + STORES; windows++) {
        stores += STORES_PER_WINDOW;
        await watch.runUntil(stores, windows % 3 === 2);
        const missed = await watch.check(windows % 2 === 0);
        // POWER8 loses pages of the log, with or without passes (3.3).
        if (host.processor === 'power9') assert.deepEqual(missed, []);
        if (windows % 5 === 0) t.note(watch.told);
        assert.equal(await guest.ask('resume'), 'ok');
      }
      const end = await checkedStats(guest);
      t.note(
        `${end.stores - begun.stores} stores, ${end.removals - begun.removals} entries removed and ` +
          `${end.clearMods - begun.clearMods} C bits cleared by the guest; ${watch.told}; compared ${windows} times`,
      );
    },
    { timeoutMs: 1_200_000 },
  );

  test('pages of a dirty log that is thrown away are not reported again', async (t) => {
    if (host.processor === 'power8') t.skip('POWER8 loses pages of its own accord (3.3)');
    await using guest = await startChecker(0);
    using memory = await VmmMemory.open(guest.control);
    const copy = await MemoryCopy.of(memory);
    await checkGoesOn(guest);
    assert.equal(await guest.ask('pause'), 'ok paused');
    const thrownAway = pagesOf(await memory.dirtyLog());
    await copy.takeLog();
    const lost = await copy.differences();
    t.note(`${thrownAway.length} pages thrown away, ${lost.length} of them differ`);
    assert.notDeepEqual(lost, []);
    assert.deepEqual(
      lost.filter((page) => !thrownAway.includes(page)),
      [],
    );
  });
}

/** Both readers of one guest, and what they bring. */
class Watch implements AsyncDisposable {
  readonly #guest: Vmm;
  readonly #memory: VmmMemory;
  readonly #copy: MemoryCopy;
  readonly #reader: HptReader;
  readonly #cursor = new RecordCursor({ order: CHECKER_ORDER });
  readonly #table = new HptTable(CHECKER_ORDER);
  #logs = 0;
  #entries = 0;
  /** Entries that a pass brought only after the last log, with the guest at rest. */
  #late = 0;
  #missed = 0;

  private constructor(guest: Vmm, memory: VmmMemory, copy: MemoryCopy, reader: HptReader) {
    this.#guest = guest;
    this.#memory = memory;
    this.#copy = copy;
    this.#reader = reader;
  }

  static async begin(guest: Vmm, memory: VmmMemory): Promise<Watch> {
    const reader = new HptReader(await openRead(guest), { order: CHECKER_ORDER });
    const watch = new Watch(guest, memory, await MemoryCopy.of(memory), reader);
    await watch.#pass();
    watch.#entries = 0;
    return watch;
  }

  /** What the readers have done so far. */
  get told(): string {
    return (
      `${this.#reader.passes} passes with ${this.#entries} entries, ${this.#logs} logs with ` +
      `${this.#copy.pagesCopied} pages; ${this.#late} entries came only after the last log, ${this.#missed} pages in no log`
    );
  }

  /** Has both readers at work until the guest has made so many stores, and stops it. */
  async runUntil(stores: number, unmaps: boolean): Promise<void> {
    const stop = { wanted: false };
    const reading = [repeat(stop, () => this.#pass()), repeat(stop, () => this.#log())];
    if (unmaps) assert.equal(await this.#guest.ask('unmap'), 'ok');
    while ((await checkedStats(this.#guest)).stores < stores) await delay(50);
    stop.wanted = true;
    await Promise.all(reading);
    assert.equal(await this.#guest.ask('pause'), 'ok paused');
  }

  /**
   * What the passes have brought must be the table, and C of all stores.
   *
   * @returns pages that were stored to, and that no log had
   */
  async check(logFirst: boolean): Promise<number[]> {
    if (logFirst) await this.#log();
    await this.#passUntilQuiet();
    if (!logFirst) {
      await this.#log();
      this.#late += await this.#passUntilQuiet();
    }
    const missed = await this.#copy.differences();
    await this.#copy.take(missed);
    this.#missed += missed.length;
    const fresh = await readTable(await openRead(this.#guest), { order: CHECKER_ORDER });
    assert.deepEqual({ ...compareTables(this.#table, fresh) }, { count: 0, ptexes: [] });
    await this.#checkChanged();
    return missed;
  }

  /** C in the fold of the passes is C as the guest knows it. */
  async #checkChanged(): Promise<void> {
    const suspects = await this.#wronglyChanged();
    if (suspects.length === 0) return;
    // The guest stopped in the middle of a step: then it has not noted yet what has become of these entries.
    assert.equal(await this.#guest.ask('resume'), 'ok');
    await checkGoesOn(this.#guest);
    assert.equal(await this.#guest.ask('pause'), 'ok paused');
    await this.#passUntilQuiet();
    const wrong = await this.#wronglyChanged();
    assert.deepEqual(
      suspects.filter((page) => wrong.includes(page)),
      [],
    );
  }

  async #wronglyChanged(): Promise<number[]> {
    const pages = await mappedPages(this.#memory);
    return pages
      .filter(({ ptex, isChanged }) => (((this.#table.get(ptex)?.r ?? 0n) & CHANGED) !== 0n) !== isChanged)
      .map(({ number }) => number);
  }

  async #log(): Promise<void> {
    this.#logs++;
    await this.#copy.takeLog();
  }

  async #passUntilQuiet(): Promise<number> {
    let entries = 0;
    do entries += await this.#pass();
    while (!this.#reader.quiescent);
    return entries;
  }

  /** @returns entries that the pass brought */
  async #pass(): Promise<number> {
    let entries = 0;
    for await (const chunk of this.#reader.pass()) {
      this.#cursor.push(chunk);
      const { validEntries, invalidEntries } = foldRecords(this.#cursor, this.#table);
      entries += validEntries + invalidEntries;
    }
    this.#entries += entries;
    return entries;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#reader.close();
  }
}

async function repeat(stop: { readonly wanted: boolean }, action: () => Promise<unknown>): Promise<void> {
  while (!stop.wanted) {
    await action();
    await delay(1);
  }
}

function openRead(guest: Vmm) {
  return receiveHtab(guest.socketPath, { request: 'open-read\n' });
}
