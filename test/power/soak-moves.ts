import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { join } from 'node:path';
import { receiveHpt } from '../../lib/migration/destination/receive.js';
import { isInDoubt } from '../../lib/migration/errors.js';
import { channels, type StateEvent } from '../../lib/migration/events.js';
import { openJournal } from '../../lib/migration/journal/journal-file.js';
import { sendHpt } from '../../lib/migration/source/send.js';
import { requestDestinationRest, requestSourceRest } from '../../lib/migration/vmm-rest.js';
import { connect, listen } from '../../lib/transport/transport.js';
import { requestSource, requestTarget } from '../../lib/vm/kvm/vmm-tables.js';
import { CutLine } from '../migration/harness/cut-line.js';
import { receive, send, type AgentSettings, type Tell } from './agent/moves.js';
import { checkedStats, checkGoesOn } from './checker.js';
import type { Vmm } from './vmm.js';
import { goOn } from './whole-migration.js';

const TABLE = 'tcp://127.0.0.1:7000';
const MEMORY = 'tcp://127.0.0.1:7001';
/** Guest, agents and VMMs share one slow processor: no stop is too long here, and an answer takes long. */
const TIMEOUTS = { timeoutMs: 120_000, reconnectMs: 3000, guestTimeoutMs: 120_000 };
const LIMITS = { ...TIMEOUTS, downtimeMs: 600_000, stopLimitMs: 600_000 };

/** What goes wrong in a move: a line is cut after so many bytes, or the destination's VMM dies at so many changes of state. */
export interface MoveFault {
  readonly tableCut?: number;
  readonly memoryCut?: number;
  /** No connection passes after the cut. */
  readonly forGood?: boolean;
  readonly killAt?: number;
}

/** Where the guest is, or was when its VMM was killed. */
export type MoveOutcome = 'moved' | 'stayed' | 'killed after its move';

/** Moves of guests by agents in this process, which takes a tenth of the time that starting others does here. */
export class SoakMoves {
  readonly #folder: string;
  readonly #say: (line: string) => void;

  /**
   * @param folder of the journals
   * @param say told why a guest has stayed though nothing went wrong on purpose, as on a machine without time
   */
  constructor(folder: string, say: (line: string) => void) {
    this.#folder = folder;
    this.#say = say;
  }

  /** The table alone, to the next VM of the same VMM, with the registers. */
  async table(guest: Vmm, fault: MoveFault): Promise<MoveOutcome> {
    const { tableCut = Infinity, forGood = false } = fault;
    const migrationId = randomUUID();
    const { commits } = await checkedStats(guest);
    using line = await CutLine.to(TABLE, tableCut, forGood);
    const sent = await this.#run(
      () => this.#sendTable(guest, migrationId, line.address),
      (over, tell) => this.#receiveTable(guest, migrationId, over, tell),
    );
    const hasMoved = await this.#hasMoved(migrationId, sent, fault);
    const { commits: now, state } = await checkedStats(guest);
    assert.equal(now - commits, hasMoved ? 1 : 0);
    if (state !== 'running') {
      assert.ok(isInDoubt(sent) && !hasMoved, `the guest is ${state}`);
      await guest.control.words('resume');
    }
    if (!hasMoved) await guest.control.words('drop');
    await checkGoesOn(guest);
    return hasMoved ? 'moved' : 'stayed';
  }

  /** The whole guest, to another VMM. */
  async whole([from, to]: readonly [Vmm, Vmm], fault: MoveFault): Promise<MoveOutcome> {
    const migrationId = randomUUID();
    const { tableCut = Infinity, memoryCut = Infinity, forGood = false, killAt = Infinity } = fault;
    using tableLine = await CutLine.to(TABLE, tableCut, forGood);
    using memoryLine = await CutLine.to(MEMORY, memoryCut);
    const settings = { migrationId, tls: {}, limits: LIMITS };
    const source: AgentSettings = {
      ...settings,
      vmm: from.socketPath,
      journal: this.#journal('source'),
      tableAddress: tableLine.address,
      memoryAddress: memoryLine.address,
    };
    const destination: AgentSettings = {
      ...settings,
      vmm: to.socketPath,
      journal: this.#journal('destination'),
      tableAddress: TABLE,
      memoryAddress: MEMORY,
    };
    let [states, isDead] = [0, false];
    const count = (event: StateEvent): void => {
      if (event.migrationId !== migrationId || ++states < killAt || isDead) return;
      isDead = true;
      void to.kill();
    };
    channels.state.subscribe(count);
    const sent = await this.#run(
      () => send(source, () => undefined),
      (over, tell) => receive(destination, tell, over),
    ).finally(() => channels.state.unsubscribe(count));
    const hasMoved = await this.#hasMoved(migrationId, sent, fault);
    if (!isDead) await goOn([from, to], hasMoved);
    else if (hasMoved) return 'killed after its move';
    else {
      if (isInDoubt(sent)) await from.control.words('resume');
      await checkGoesOn(from);
    }
    return hasMoved ? 'moved' : 'stayed';
  }

  /** Runs both sides. @returns what the source failed with */
  async #run(
    sending: () => Promise<void>,
    receiving: (over: AbortSignal, tell: Tell) => Promise<void>,
  ): Promise<unknown> {
    const over = new AbortController();
    let received!: Promise<void>;
    await new Promise<void>((resolve, reject) => {
      received = receiving(over.signal, () => {
        resolve();
      });
      received.catch(reject);
    });
    const [sent] = await Promise.allSettled([sending()]);
    over.abort(new Error('the source has ended'));
    await Promise.allSettled([received]);
    return sent.status === 'rejected' ? sent.reason : undefined;
  }

  async #sendTable({ socketPath, control }: Vmm, migrationId: string, address: string): Promise<void> {
    await using journal = await openJournal(this.#journal('source'));
    await sendHpt(await requestSource(socketPath), () => connect(address), {
      ...LIMITS,
      migrationId,
      journal,
      maxPasses: 3,
      pause: async () => {
        await control.words('pause');
      },
      resume: async () => {
        await control.words('resume');
      },
      rest: await requestSourceRest(socketPath),
    });
  }

  async #receiveTable(
    { socketPath }: Vmm,
    migrationId: string,
    over: AbortSignal,
    tell: Tell,
  ): Promise<void> {
    await using journal = await openJournal(this.#journal('destination'));
    using listener = await listen(TABLE);
    const rest = await requestDestinationRest(socketPath);
    tell({ event: 'listening' });
    const options = { ...TIMEOUTS, migrationId, journal, rest, signal: over };
    await receiveHpt(() => requestTarget(socketPath), listener, options);
  }

  /** What the destination's journal says, which must not contradict the source. */
  async #hasMoved(migrationId: string, sent: unknown, fault: MoveFault): Promise<boolean> {
    await using journal = await openJournal(this.#journal('destination'));
    const hasMoved = (await journal.find('destination', migrationId))?.state === 'committed';
    if (!isInDoubt(sent)) assert.equal(hasMoved, sent === undefined, `the source ended with ${String(sent)}`);
    if (!hasMoved && Object.keys(fault).length === 0) this.#say(`a guest has stayed: ${String(sent)}`);
    return hasMoved;
  }

  #journal(side: 'source' | 'destination'): string {
    return join(this.#folder, side);
  }
}
