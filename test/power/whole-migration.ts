import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { join } from 'node:path';
import { openJournal } from '../../lib/migration/journal/journal-file.js';
import type { JournalEntry, Side } from '../../lib/migration/journal/journal.js';
import type { AgentSettings } from './agent/moves.js';
import { Command, type CommandEvent } from './command.js';
import { checkGoesOn, isRunning } from './checker.js';
import type { Vmm } from './vmm.js';

/** No stop is too long here. */
const STOP_MS = 600_000;

/** The agents of test/power/agent, in processes of their own, that move a whole guest from one VMM to another. */
export class WholeMigration implements AsyncDisposable {
  readonly source: Command;
  readonly destination: Command;
  readonly #from: Vmm;
  readonly #folder: string;
  readonly #id = randomUUID();

  /**
   * Starts both.
   *
   * @param folder for the journals
   * @param signal of the test
   */
  constructor(from: Vmm, to: Vmm, folder: string, signal: AbortSignal) {
    this.#from = from;
    this.#folder = folder;
    const start = (side: Side, vmm: Vmm): Command => {
      const settings = JSON.stringify(this.#settings(side, vmm.socketPath));
      return Command.startProgram('test/power/agent/agent.js', [side, settings], signal);
    };
    this.destination = start('destination', to);
    this.source = start('source', from);
  }

  /** Lets the guest rest until both agents are at work: they take longer to start than to move it. */
  static async begin(from: Vmm, to: Vmm, folder: string, signal: AbortSignal): Promise<WholeMigration> {
    assert.match(await from.ask('pause'), /^ok paused/);
    const migration = new WholeMigration(from, to, folder, signal);
    await Promise.all([
      migration.destination.told({ event: 'listening' }),
      migration.source.told({ event: 'begin' }),
    ]);
    await migration.#from.control.words('resume');
    return migration;
  }

  /** Waits until the guest has moved. @returns what the source tells of it */
  async complete(): Promise<CommandEvent> {
    const ends = await Promise.allSettled([this.source.mustEnd(0), this.destination.mustEnd(0)]);
    const errors = ends.flatMap((end) => (end.status === 'rejected' ? [String(end.reason)] : []));
    if (errors.length > 0) throw new Error(errors.join('\n'));
    return this.source.told({ event: 'done' });
  }

  /** Where the guest is, whatever has become of the processes: only the destination's journal can say that it has moved. */
  async hasMoved(): Promise<boolean> {
    return (await this.recorded('destination')) === 'committed';
  }

  async recorded(side: Side): Promise<JournalEntry['state'] | undefined> {
    const journal = await openJournal(join(this.#folder, side));
    try {
      return (await journal.find(side, this.#id))?.state;
    } finally {
      await journal.close();
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all([this.source.kill(), this.destination.kill()]);
  }

  #settings(side: Side, vmm: string): AgentSettings {
    const file = (name: string): string => join('certificates', name);
    return {
      migrationId: this.#id,
      vmm,
      journal: join(this.#folder, side),
      tableAddress: 'tls://127.0.0.1:7000',
      memoryAddress: 'tls://127.0.0.1:7001',
      // Memory, table and guest share one slow processor, and the guest stores to nearly all its memory within a second: it
      // never comes nearer than a stop in which all of it is copied.
      limits: { timeoutMs: 120_000, downtimeMs: STOP_MS, stopLimitMs: STOP_MS },
      tls: {
        cert: file(`${side}.pem`),
        key: file(`${side}.key`),
        ca: file('ca.pem'),
        peerName: side === 'source' ? 'destination' : 'source',
      },
    };
  }
}

/** Lets a guest go on where it is, whatever the agents came to, and nowhere else: what an operator does by the journals. */
export async function goOn([from, to]: readonly [Vmm, Vmm], hasMoved: boolean): Promise<void> {
  const [here, elsewhere] = hasMoved ? [to, from] : [from, to];
  if (!(await isRunning(here))) await here.control.words(hasMoved ? 'commit' : 'resume');
  await elsewhere.control.words(hasMoved ? 'leave' : 'drop');
  await checkGoesOn(here);
  assert.equal(await isRunning(elsewhere), false);
}
