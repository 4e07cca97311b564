import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { join } from 'node:path';
import { openJournal } from '../../lib/migration/journal/journal-file.js';
import type { JournalEntry, Side } from '../../lib/migration/journal/journal.js';
import { Command, type CommandEvent } from './command.js';
import type { Vmm } from './vmm.js';

const ADDRESS = 'tls://127.0.0.1:7000';

/** A `kvm-htab send` and a `kvm-htab receive` that move the guest of a VMM to its next VM, with TLS. */
export class Migration implements AsyncDisposable {
  readonly id = randomUUID();
  readonly receiver: Command;
  readonly sender: Command;
  readonly #guest: Vmm;
  readonly #folder: string;
  readonly #signal: AbortSignal;

  /**
   * Starts both; the sender is held back.
   *
   * @param folder for the journals; the same for all migrations of a guest
   * @param signal of the test
   */
  constructor(guest: Vmm, folder: string, signal: AbortSignal) {
    this.#guest = guest;
    this.#folder = folder;
    this.#signal = signal;
    const socket = ['--htab-socket', guest.socketPath, '--json'];
    const once = ['--migration-id', this.id, '--max-passes', '3', '--reconnect-ms', '0'];
    this.receiver = Command.start(['receive', ADDRESS, ...socket, ...peer('destination', folder)], signal);
    this.sender = Command.startHeld(['send', ADDRESS, ...socket, ...peer('source', folder), ...once], signal);
  }

  /** The guest runs from here on; until then it rests, since the processes take longer to start than to move it. */
  async begin(): Promise<void> {
    assert.match(await this.#guest.ask('pause'), /^ok paused/);
    await Promise.all([this.receiver.told({ event: 'listening' }), this.sender.told({ event: 'held' })]);
    assert.equal(await this.#guest.ask('resume'), 'ok');
    assert.equal(await this.#guest.ask('unmap'), 'ok');
    this.sender.goOn();
  }

  /** Waits until the destination has the guest, which runs there. @returns what is worth telling */
  async complete(): Promise<string> {
    const sides = [this.receiver, this.sender];
    const done = sides.map((side) => side.told({ event: 'done' }));
    const [, sent] = (await Promise.all(done)) as [CommandEvent, CommandEvent];
    assert.equal(await this.#guest.ask('unmap'), 'ok');
    const [ours, theirs] = await Promise.all(sides.map((side) => side.told({ event: 'digest' })));
    assert.equal(ours!['digest'], theirs!['digest']);
    await this.sender.mustEnd(0);
    await this.receiver.mustEnd(0);
    const { validEntries, predictedStopMs, stopMs, rest } = sent;
    assert.ok((rest as { stateBytes: number }).stateBytes > 0);
    const passes = this.sender.events.filter(({ event }) => event === 'pass');
    const live = passes.filter((pass) => pass['live'] === true).length;
    return (
      `${String(validEntries)} valid entries, ${live} live passes and ${passes.length - live} stopped ones; ` +
      `stopped for ${Math.round(Number(stopMs))} ms, ${Math.round(Number(predictedStopMs))} predicted`
    );
  }

  /** What the journal of one side says of it, which is true whatever has become of the processes. */
  async recorded(side: Side): Promise<JournalEntry['state'] | undefined> {
    const journal = await openJournal(journalOf(side, this.#folder));
    try {
      return (await journal.find(side, this.id))?.state;
    } finally {
      await journal.close();
    }
  }

  /** Asks a receiver that has been started again where the guest is, as an operator would. */
  async resolve(): Promise<unknown> {
    // Whoever only answers needs no table: the VMM would make another VM if it were asked for one.
    const again = ['receive', ADDRESS, '--emulated', '--json', ...peer('destination', this.#folder)];
    await using receiver = Command.start(again, this.#signal);
    await receiver.told({ event: 'listening' });
    const ask = ['resolve', this.id, '--ask', ADDRESS, '--json', ...peer('source', this.#folder)];
    await using resolve = Command.start(ask, this.#signal);
    await resolve.mustEnd(0);
    return resolve.events[0]?.['state'];
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all([this.receiver.kill(), this.sender.kill()]);
  }
}

/** Options of one side: who it is, whom it trusts, what it remembers. */
function peer(side: Side, folder: string): string[] {
  const file = (name: string): string => join('certificates', name);
  const identity = ['--cert', file(`${side}.pem`), '--key', file(`${side}.key`), '--ca', file('ca.pem')];
  const other = side === 'source' ? 'destination' : 'source';
  return [...identity, '--peer-name', other, '--journal', journalOf(side, folder)];
}

function journalOf(side: Side, folder: string): string {
  return join(folder, side);
}
