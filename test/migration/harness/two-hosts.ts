import type { Duplex } from 'node:stream';
import { expect } from 'vitest';
import { isHtabError, type HtabError } from '../../../lib/base/errors.js';
import { digestTable } from '../../../lib/hpt/digest.js';
import type { ReceiveReport } from '../../../lib/migration/destination/receive-report.js';
import { receiveHpt } from '../../../lib/migration/destination/receive.js';
import { type Journal } from '../../../lib/migration/journal/journal.js';
import { MemoryJournal } from '../../../lib/migration/journal/memory-journal.js';
import { answerOutcomes, askOutcome } from '../../../lib/migration/outcome.js';
import type { SendReport } from '../../../lib/migration/source/send-report.js';
import { sendHpt } from '../../../lib/migration/source/send.js';
import { EmulatedVm } from '../../../lib/vm/emulated/emulated-vm.js';
import { AbortRule } from './abort-rule.js';
import type { TestGuest } from './test-guest.js';
import { digestOf, settleInFakeTime } from './test-guest.js';
import { MortalProcess, outcomeOfLife } from './mortal-process.js';
import { Network } from './network.js';
import type { TestRest } from './test-rest.js';
import type { TwoHostsOptions } from './two-hosts-options.js';
import { mortalSource, mortalDestination } from './mortal-rest.js';

export const MIGRATION_ID = 'the-one';

/** Where the guest is at the end, and how that came about. */
export type Verdict =
  | 'moved'
  | 'stayed'
  | 'in doubt, then moved'
  | 'in doubt, then stayed'
  | 'stands still at the source, and says so';

const TIMEOUT_MS = 3000;
const RECONNECT_MS = 20_000;

/**
 * Two hosts with an agent each, and the rule they live under: the guest runs at one of them, or somebody says aloud that
 * it does not. That both might run it is checked at the moment either begins to.
 */
export class TwoHosts {
  readonly guest: TestGuest;
  readonly target: EmulatedVm;
  readonly network: Network;
  readonly source = new MortalProcess();
  readonly destination = new MortalProcess();
  sent: PromiseSettledResult<SendReport> | undefined;
  received: PromiseSettledResult<ReceiveReport> | undefined;
  readonly sourceJournal: Journal;
  readonly targetJournal: Journal;
  readonly #options: TwoHostsOptions;
  readonly #abortRule = new AbortRule();
  #runsAtTarget = false;

  constructor(options: TwoHostsOptions) {
    this.#options = options;
    this.guest = options.guest;
    this.target = options.target ?? new EmulatedVm({ host: 'power8' });
    const { wires = () => ({}) } = options;
    this.network = new Network((number) => this.#abortRule.watch(number, wires(number)));
    this.sourceJournal = options.sourceJournal ?? new MemoryJournal();
    this.targetJournal = options.targetJournal ?? new MemoryJournal();
  }

  /** Whether the destination has been told, or tells itself, that the guest is its own. */
  get runsAtTarget(): boolean {
    return this.#runsAtTarget;
  }

  /** Moves the guest, lets whoever died be started again, resolves what is in doubt, and judges. */
  async run(): Promise<Verdict> {
    const sending = this.#send();
    const receiving = this.#receive();
    // Nobody else will connect any more.
    const ended = sending.then(() => {
      this.network.close();
    });
    await settleInFakeTime(Promise.all([ended, receiving]));
    const doubtful = this.sent?.status === 'rejected' && codeOf(this.sent.reason) === 'ERR_HTAB_IN_DOUBT';
    if (doubtful) expect(this.guest.state).toBe('paused');
    if (doubtful || this.source.over) await settleInFakeTime(this.#resolve());
    if (this.destination.over) {
      // Started again: what it is to do stands in its journal.
      const entry = await this.targetJournal.find('destination', MIGRATION_ID);
      if (entry?.state === 'committed') this.#runAtTarget();
    } else if (this.received?.status === 'rejected' && codeOf(this.received.reason) === 'ERR_HTAB_IN_DOUBT') {
      // Somebody has looked at the disk.
      const entry = await this.targetJournal.find('destination', MIGRATION_ID);
      if (entry?.state === 'committed') this.#runAtTarget();
    }
    // Last words linger for a second.
    await settleInFakeTime(new Promise((resolve) => setTimeout(resolve, 2000)));
    if (this.#standsStillAloud) return 'stands still at the source, and says so';
    await this.#judge();
    const verdict = this.#runsAtTarget ? 'moved' : 'stayed';
    return doubtful ? `in doubt, then ${verdict}` : verdict;
  }

  async #send(): Promise<void> {
    const { guest, source } = this;
    const options = guest.options();
    const vm = this.#options.wrapSource?.(guest.vm) ?? guest.vm;
    const sending = sendHpt(source.vm(vm), this.#dial, {
      ...options,
      timeoutMs: TIMEOUT_MS,
      reconnectMs: RECONNECT_MS,
      waitMs: RECONNECT_MS,
      maxPasses: 2,
      host: guest.vm.host,
      migrationId: MIGRATION_ID,
      journal: source.journal(this.sourceJournal),
      rest: this.#options.rest && mortalSource(source, this.#options.rest),
      ...this.#options.send,
      pause: () => source.call(this.#options.send?.pause ?? options.pause!),
      resume: () =>
        source.call(async () => {
          await this.#options.send?.resume?.();
          await this.#resume();
        }),
    });
    this.sent = await outcomeOfLife(source, sending);
  }

  async #receive(): Promise<void> {
    const { destination, target } = this;
    const vm = this.#options.wrapTarget?.(target) ?? target;
    const { journal = destination.journal(this.targetJournal) } = this.#options.receive ?? {};
    const receiving = receiveHpt(
      destination.vm(vm),
      { [Symbol.asyncIterator]: () => this.#accepted() },
      {
        timeoutMs: TIMEOUT_MS,
        reconnectMs: RECONNECT_MS,
        host: target.host,
        rest: this.#options.rest && mortalDestination(destination, this.#options.rest),
        ...this.#options.receive,
        journal: this.#abortRule.journal(journal),
      },
    );
    this.received = await outcomeOfLife(destination, receiving);
    const { received } = this;
    // One that does not run is here, and an operator runs it.
    const stopped = received?.status === 'rejected' && codeOf(received.reason) === 'ERR_HTAB_GUEST_STOPPED';
    if (received?.status === 'fulfilled' || stopped) this.#runAtTarget();
    // A supervisor starts the agent again, or it goes on by itself: somebody answers.
    void answerOutcomes(this.targetJournal, this.network, { timeoutMs: TIMEOUT_MS });
  }

  /** What an operator, or the source's agent once it is started again, does. */
  async #resolve(): Promise<void> {
    const entry = await this.sourceJournal.find('source', MIGRATION_ID);
    let outcome = entry?.state ?? 'aborted';
    if (outcome === 'pending') {
      const network = new Network();
      const answering = answerOutcomes(this.targetJournal, network);
      const asked = await askOutcome(await network.connect(), MIGRATION_ID, {
        digest: entry?.digest,
      });
      network.close();
      await answering;
      if (asked === 'unknown') throw new Error('a destination that was prepared has forgotten it');
      outcome = await this.sourceJournal.decide('source', MIGRATION_ID, asked);
    }
    if (outcome === 'aborted') await this.#resume();
  }

  readonly #resume = (): Promise<void> => {
    expect(this.#runsAtTarget, 'the guest begins to run at the source, and runs at the destination').toBe(
      false,
    );
    return this.guest.resume();
  };

  #runAtTarget(): void {
    expect(this.guest.state, 'the guest begins to run at the destination').toBe('paused');
    this.#runsAtTarget = true;
  }

  readonly #dial = (): Promise<Duplex> =>
    this.source.call(async () => this.source.owns(await this.network.connect()));

  #accepted(): AsyncIterator<Duplex, undefined> {
    const iterator = this.network[Symbol.asyncIterator]();
    return {
      next: async () => {
        const result = await iterator.next();
        if (result.done !== true) this.destination.owns(result.value);
        return result;
      },
    };
  }

  /** The monitor could not be made to resume the guest. */
  get #standsStillAloud(): boolean {
    const said = this.sent?.status === 'rejected' && codeOf(this.sent.reason) === 'ERR_HTAB_GUEST_STOPPED';
    return said && !this.#runsAtTarget && this.guest.state === 'paused';
  }

  /** A guest runs whole, or nothing of it is left; of a process that died, its successor knows only the journal. */
  #judgeRest(rest: TestRest): void {
    const { received } = this;
    const [runs, discards] = [rest.times('run'), rest.times('discard')];
    expect(rest.violations).toEqual([]);
    expect(runs + discards, 'calls of run and discard').toBeLessThanOrEqual(1);
    if (this.#runsAtTarget) {
      expect(discards, 'what moved is not discarded').toBe(0);
      expect(rest.accepted, 'what moved is whole').toBeDefined();
    } else {
      expect(runs, 'what stayed does not run').toBe(0);
    }
    if (this.destination.over || received === undefined) return;
    const inDoubt = received.status === 'rejected' && codeOf(received.reason) === 'ERR_HTAB_IN_DOUBT';
    if (!inDoubt) expect([runs, discards]).toEqual(this.#runsAtTarget ? [1, 0] : [0, 1]);
  }

  async #judge(): Promise<void> {
    if (this.#options.rest !== undefined) this.#judgeRest(this.#options.rest);
    const running = this.guest.state === 'running';
    expect(this.#abortRule.violations).toEqual([]);
    expect([this.source.openHandles, this.destination.openHandles], 'open descriptors').toEqual([0, 0]);
    expect(
      Number(running) + Number(this.#runsAtTarget),
      `the guest is ${this.guest.state} at the source; at the destination: ${this.#runsAtTarget}`,
    ).toBe(1);
    if (this.#runsAtTarget) {
      expect(await digestOf(this.target)).toBe(digestTable(this.guest.vm.table!));
    } else if (
      this.received?.status === 'rejected' &&
      !/do not run the target|it is not known/.test(String(this.received.reason))
    ) {
      expect(this.target.table?.validCount ?? 0).toBe(0);
    }
    for (const result of [this.sent, this.received]) {
      if (result?.status === 'rejected') expect(isHtabError(result.reason), String(result.reason)).toBe(true);
    }
    expect(this.network.channels.filter(({ destroyed }) => !destroyed).length, 'open channels').toBe(0);
  }
}

function codeOf(error: unknown): unknown {
  return (error as HtabError).code;
}
