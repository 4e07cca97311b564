import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { SeededRandom } from '../../lib/base/random.js';
import { digestTable } from '../../lib/hpt/digest.js';
import { readTable } from '../../lib/io/read-table.js';
import { isInDoubt } from '../../lib/migration/errors.js';
import type { Decision, Journal } from '../../lib/migration/journal/journal.js';
import { askOutcome } from '../../lib/migration/outcome.js';
import type { AskedOutcome } from '../../lib/migration/wire/messages.js';
import { sendHpt, type SendOptions } from '../../lib/migration/source/send.js';
import { connect } from '../../lib/transport/transport.js';
import { EmulatedVm } from '../../lib/vm/emulated/emulated-vm.js';
import { GuestWorkload } from '../../lib/vm/emulated/guest-workload.js';
import { CutLine } from '../migration/harness/cut-line.js';
import type { Host } from './host.js';
import { LATER_STEPS, RECONNECT_MS } from './messages.js';

const ORDER = 18;
const PAGES = 300;
const STEPS_PER_FRAME = 5;
/** Faults are drawn from within so many frames, and bytes: most moves have fewer. */
const FRAMES = 8;
const BYTES = 20_000;

/** What goes wrong in a move, one time in {@link FAULTY}. */
const FAULTS = ['cut', 'cut for good', 'source stops', 'destination stops'] as const;
const FAULTY = 6;
type Fault = 'nothing' | (typeof FAULTS)[number];

/** How a move ended. */
export interface End {
  readonly fault: Fault;
  readonly outcome: 'moved' | 'stayed';
  readonly wasInDoubt: boolean;
}

/** One guest of an emulated host, which moves again and again. What it does, and what goes wrong, is decided by its seed. */
export class SoakGuest {
  readonly #vm = new EmulatedVm({ host: 'power8' });
  readonly #random: SeededRandom;
  readonly #host: Host;
  readonly #journal: Journal;
  readonly #onFrame: () => void;
  #workload!: GuestWorkload;
  #runs = true;

  private constructor(seed: number, host: Host, journal: Journal, onFrame: () => void) {
    this.#random = new SeededRandom(seed);
    this.#host = host;
    this.#journal = journal;
    this.#onFrame = onFrame;
  }

  static async boot(seed: number, host: Host, journal: Journal, onFrame: () => void): Promise<SoakGuest> {
    const guest = new SoakGuest(seed, host, journal, onFrame);
    await guest.#vm.allocateHpt(ORDER);
    guest.#workload = new GuestWorkload(guest.#vm, { seed, pages: PAGES });
    guest.#workload.step(50 + guest.#random.below(500));
    return guest;
  }

  /**
   * Moves it. A guest that has moved goes on here as it does there, which is compared: it is as if it had come back.
   */
  async move(): Promise<End> {
    const id = randomUUID();
    const host = this.#host;
    await host.ready();
    const life = host.lives;
    host.arrivals.set(id, {});
    const fault = FAULTS[this.#random.below(FAULTS.length * FAULTY)] ?? 'nothing';
    const giveUpAfter = fault === 'destination stops' ? 1 + this.#random.below(FRAMES) : undefined;
    host.tell({ take: id, giveUpAfter });
    const sent = await this.#send(id, fault);
    const wasInDoubt = sent instanceof Error && isInDoubt(sent);
    let decision: Decision = 'committed';
    if (sent instanceof Error) decision = await this.#ask(id, wasInDoubt);
    if (decision === 'aborted') host.tell({ drop: id });
    const { digest, later, failed } = await host.ended(id, life);
    host.arrivals.delete(id);
    const isDead = host.lives !== life;
    if (decision === 'committed') {
      assert.equal(failed, undefined);
      assert.equal(this.#runs, false, 'a guest that has moved stands still');
      assert.equal(digest, digestTable(this.#vm.table!), 'the table that was committed');
      this.#workload.step(LATER_STEPS);
      if (later !== undefined || !isDead)
        assert.equal(later, digestTable(await readTable(this.#vm)), 'the table later on');
      this.#runs = true;
      return { fault, outcome: 'moved', wasInDoubt };
    }
    if (wasInDoubt) this.#runs = true;
    assert.equal(this.#runs, true, 'a guest that has stayed runs');
    assert.equal(later, undefined);
    assert.equal(failed?.left ?? 0, 0, `entries left: ${failed?.failed}`);
    return { fault, outcome: 'stayed', wasInDoubt };
  }

  /** @returns what the source ended with, if it failed */
  async #send(id: string, fault: Fault): Promise<Error | undefined> {
    const random = this.#random;
    const isCut = fault === 'cut' || fault === 'cut for good';
    using line = isCut
      ? await CutLine.to(this.#host.address, random.below(BYTES), fault === 'cut for good')
      : undefined;
    const stopped = new AbortController();
    const stopAfter = fault === 'source stops' ? 1 + random.below(FRAMES) : Infinity;
    let frames = 0;
    const address = line?.address ?? this.#host.address;
    const options: SendOptions = {
      migrationId: id,
      journal: this.#journal,
      pause: () => this.#set(false),
      resume: () => this.#set(true),
      rest: { stopMs: () => 0, finish: () => Promise.resolve(this.#workload.registers()) },
      maxPasses: 3,
      maxChangedEntries: 0,
      frameBytes: 8192,
      waitMs: RECONNECT_MS,
      reconnectMs: RECONNECT_MS,
      signal: stopped.signal,
      onProgress: () => {
        if (this.#runs) this.#workload.step(STEPS_PER_FRAME);
        if (++frames >= stopAfter) stopped.abort(new Error('stopped'));
        this.#onFrame();
      },
    };
    try {
      await sendHpt(this.#vm, () => connect(address), options);
      return undefined;
    } catch (error) {
      return error as Error;
    }
  }

  #set(runs: boolean): Promise<void> {
    this.#runs = runs;
    return Promise.resolve();
  }

  /** What the destination says of a move that has failed here: only one in doubt can have been committed. */
  async #ask(id: string, wasInDoubt: boolean): Promise<Decision> {
    const entry = await this.#journal.find('source', id);
    const outcome = await this.#answer(id, entry?.digest);
    if (!wasInDoubt) {
      assert.notEqual(outcome, 'committed');
      return 'aborted';
    }
    assert.equal(this.#runs, false, 'a guest in doubt stands still');
    assert.notEqual(outcome, 'unknown', 'a destination that was prepared has forgotten it');
    return this.#journal.decide('source', id, outcome as Decision);
  }

  /** Asks again where the destination was killed meanwhile. */
  async #answer(id: string, digest: string | undefined): Promise<AskedOutcome> {
    for (;;) {
      await this.#host.ready();
      const life = this.#host.lives;
      try {
        return await askOutcome(await connect(this.#host.address), id, { digest });
      } catch (error) {
        await this.#host.ready();
        if (this.#host.lives === life) throw error;
      }
    }
  }
}
