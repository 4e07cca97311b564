import assert from 'node:assert/strict';
import { mkdtempSync } from 'node:fs';
import { release, tmpdir } from 'node:os';
import { join } from 'node:path';
import { SeededRandom } from '../../lib/base/random.js';
import { within } from '../../lib/base/time.js';
import { compareTables } from '../../lib/hpt/compare.js';
import { readTable } from '../../lib/io/read-table.js';
import { readSnapshot } from '../../lib/snapshot/read.js';
import { saveSnapshot } from '../../lib/snapshot/save.js';
import { attachHtab } from '../../lib/vm/kvm/attach.js';
import { receiveHtab } from '../../lib/vm/kvm/handover.js';
import { soak, type Counts, type SoakOptions } from '../soak/soak.js';
import { processOf } from '../soak/usage.js';
import { CHECKER_ORDER, checkGoesOn, compareWithUnmoved, startChecker } from './checker.js';
import type { Host } from './host.js';
import { tryTable } from './resize-trial.js';
import type { Test, TestContext } from './runner.js';
import { SoakMoves, type MoveFault } from './soak-moves.js';
import { until } from './until.js';
import { openDescriptors, Vmm } from './vmm.js';
import { killAgent } from './whole-migration-kill.js';

/** Deeds of a round; all that the guest has done is done once more at its end, by an unmoved one. */
const DEEDS = 20;
/** Longest time beyond the soak's own: its last round. */
const ROUND_MS = 3_600_000;
/** A deed that takes longer hangs, also on a busy machine. */
const DEED_MS = 900_000;
/** A VMM that still has a descriptor of a move after this time keeps it. */
const SETTLE_MS = 300_000;
/** Cuts are drawn from so many bytes; most moves have fewer. */
const TABLE_BYTES = 150_000;
const MEMORY_BYTES = 30_000_000;
/** States that both sides go through in a move. */
const STATES = 16;

const WEIGHTS = {
  table: 50,
  'table, line cut': 12,
  'table, line cut for good': 6,
  whole: 12,
  'whole, table line cut': 4,
  'whole, table line cut for good': 3,
  'whole, memory line cut': 5,
  'whole, destination killed': 4,
  'agent killed': 1,
  'attached and saved': 3,
  resized: 2,
} as const;
type Deed = keyof typeof WEIGHTS;

export type SoakSettings = Pick<SoakOptions, 'minutes' | 'moves'>;

/** Guests that move to and fro for hours. */
export function soakSuite(test: Test, host: Host, seed: number, { minutes, moves }: SoakSettings): void {
  test(
    `${minutes} minutes of moves of a checking guest, with faults, leave it as it would be unmoved`,
    async (t) => {
      const folder = mkdtempSync(join(tmpdir(), 'soak-'));
      await soak({
        seed,
        minutes,
        moves,
        round: (each) => new Round(each, folder, host, t).run(),
        watched: () => {
          globalThis.gc!();
          return Promise.resolve([
            processOf('agents, by source', process.pid, join(folder, 'source')),
            processOf('agents, by destination', process.pid, join(folder, 'destination')),
          ]);
        },
        again: (each) => `npm run soak -- ${optionsOf(host)} --seed ${each} --moves 1`,
        say: (line) => {
          t.note(line);
        },
      });
    },
    { timeoutMs: minutes * 60_000 + ROUND_MS },
  );
}

/** One guest, and what is done to it: its seed decides that. */
class Round {
  readonly #random: SeededRandom;
  readonly #folder: string;
  readonly #host: Host;
  readonly #t: TestContext;
  readonly #moves: SoakMoves;
  readonly #counts: Record<string, number> = {};
  /** The guest is in the first. */
  #vmms!: [Vmm, Vmm];

  constructor(seed: number, folder: string, host: Host, t: TestContext) {
    this.#random = new SeededRandom(seed);
    this.#folder = folder;
    this.#host = host;
    this.#t = t;
    this.#moves = new SoakMoves(folder, (line) => {
      t.note(line);
    });
  }

  async run(): Promise<Counts> {
    this.#vmms = [await startChecker(0), await startIncoming()];
    try {
      const descriptors = this.#descriptors();
      for (let deed = 0; deed < DEEDS; deed++) {
        const name = this.#draw();
        const outcome = await within(this.#do(name), DEED_MS, undefined, () => new Error(`${name}: hangs`));
        this.#count(`${name}: ${outcome}`);
        if (outcome === 'moved') this.#count('moved');
        if (outcome === 'killed after its move') return this.#counts;
        await this.#settle(descriptors, name);
      }
      await compareWithUnmoved(this.#vmms[0]);
      return this.#counts;
    } finally {
      for (const vmm of this.#vmms) await vmm.kill();
    }
  }

  async #do(deed: Deed): Promise<string> {
    const random = this.#random;
    const tableCut = random.below(TABLE_BYTES);
    switch (deed) {
      case 'table':
        return this.#moves.table(this.#vmms[0], {});
      case 'table, line cut':
        return this.#moves.table(this.#vmms[0], { tableCut });
      case 'table, line cut for good':
        return this.#moves.table(this.#vmms[0], { tableCut, forGood: true });
      case 'whole':
        return this.#whole({});
      case 'whole, table line cut':
        return this.#whole({ tableCut });
      case 'whole, table line cut for good':
        return this.#whole({ tableCut, forGood: true });
      case 'whole, memory line cut':
        return this.#whole({ memoryCut: random.below(MEMORY_BYTES) });
      case 'whole, destination killed':
        return this.#whole({ killAt: 1 + random.below(STATES) });
      case 'agent killed': {
        const turn = random.below(2 ** 16);
        const { hasMoved } = await killAgent(this.#vmms, this.#folder, { random, turn }, this.#t.signal);
        if (hasMoved) this.#vmms.reverse();
        return hasMoved ? 'moved' : 'stayed';
      }
      case 'attached and saved':
        return this.#save();
      case 'resized':
        return tryTable(random.below(2 ** 16), this.#host, this.#t.signal);
    }
  }

  async #whole(fault: MoveFault): Promise<string> {
    const outcome = await this.#moves.whole(this.#vmms, fault);
    if (outcome === 'moved') this.#vmms.reverse();
    if (outcome === 'stayed' && fault.killAt !== undefined) {
      await this.#vmms[1].kill();
      this.#vmms[1] = await startIncoming();
    }
    return outcome;
  }

  /** Saves the table of the running guest from outside; the file has what the guest has, once it stands still. */
  async #save(): Promise<string> {
    const [guest] = this.#vmms;
    const { handle, reopen } = await attachHtab({ pid: guest.pid, order: CHECKER_ORDER });
    const file = join(this.#folder, 'snapshot');
    const pause = async (): Promise<void> => {
      await guest.control.words('pause');
    };
    // It goes on when the tables have been compared.
    const resume = (): Promise<void> => Promise.resolve();
    await saveSnapshot(handle, file, { order: CHECKER_ORDER, reopen, guest: { pause, resume } });
    const { table } = await readSnapshot(file);
    const given = await receiveHtab(guest.socketPath, { request: 'open-read\n' });
    const fresh = await readTable(given, { order: CHECKER_ORDER });
    assert.deepEqual({ ...compareTables(table, fresh) }, { count: 0, ptexes: [] });
    await guest.control.words('resume');
    await checkGoesOn(guest);
    return 'the same';
  }

  /** A VMM notices a little later that an agent has hung up. */
  async #settle(most: number, deed: Deed): Promise<void> {
    const signal = AbortSignal.timeout(SETTLE_MS);
    await until(() => this.#descriptors() <= most || undefined, signal).catch(() => {
      const open = this.#vmms.flatMap(({ pid }) => openDescriptors(pid));
      throw new Error(
        `${deed}: the VMMs had ${most} descriptors, and keep ${open.length}: ${open.join(', ')}`,
      );
    });
  }

  #draw(): Deed {
    const entries = Object.entries(WEIGHTS) as [Deed, number][];
    let rest = this.#random.below(entries.reduce((sum, [, weight]) => sum + weight, 0));
    return entries.find(([, weight]) => (rest -= weight) < 0)![0];
  }

  #count(name: string): void {
    this.#counts[name] = (this.#counts[name] ?? 0) + 1;
  }

  #descriptors(): number {
    return this.#vmms.reduce((sum, { pid }) => sum + openDescriptors(pid).length, 0);
  }
}

/** What boots this machine again. */
function optionsOf({ processor, mmu }: Host): string {
  const hash = processor === 'power9' && mmu === 'hash' ? ' --hash-host' : '';
  const kernel = /^6\.12?\b/.exec(release())?.[0] ?? 'newest';
  return `--machine ${processor.replace('power', 'powernv')}${hash} --kernel ${kernel}`;
}

async function startIncoming(): Promise<Vmm> {
  const vmm = await Vmm.start('live', ['incoming', CHECKER_ORDER]);
  // Its first VM opens what it keeps open.
  await (await receiveHtab(vmm.socketPath, { request: 'open-write\n' })).close();
  await vmm.control.words('drop');
  return vmm;
}
