import { receiveHpt } from '../../../lib/migration/destination/receive.js';
import { openJournal } from '../../../lib/migration/journal/journal-file.js';
import { answerOutcomes } from '../../../lib/migration/outcome.js';
import { sendHpt, type SendOptions } from '../../../lib/migration/source/send.js';
import { DestinationAgent } from '../../../lib/testing/agent/destination.js';
import type { OnRound } from '../../../lib/testing/agent/rounds.js';
import { SourceAgent } from '../../../lib/testing/agent/source.js';
import type { SecurityOptions } from '../../../lib/transport/security.js';
import { connect, listen } from '../../../lib/transport/transport.js';
import { requestSource, requestTarget } from '../../../lib/vm/kvm/vmm-tables.js';
import { VmmGuest } from './vmm-guest.js';

type Timeouts = 'timeoutMs' | 'reconnectMs' | 'guestTimeoutMs';

/** What the agent of one host must know of a move. */
export interface AgentSettings {
  readonly migrationId: string;
  /** Control socket of the VMM on this host. */
  readonly vmm: string;
  /** File of the journal of this host. */
  readonly journal: string;
  /** Where the destination listens for the table, and for the memory. */
  readonly tableAddress: string;
  readonly memoryAddress: string;
  readonly tls: SecurityOptions;
  /** Longest time without a word of the other agent, without a connection, and for a word of the VMM; longest stop of the guest to aim at, and at all. */
  readonly limits: Pick<SendOptions, Timeouts | 'downtimeMs' | 'stopLimitMs'>;
}

/** How long a source that has lost its connection can ask what became of the guest. */
const ANSWER_MS = 3000;

export type Tell = (event: object) => unknown;

/** Moves the guest of the VMM here to the agent of the other host. */
export async function send(
  { migrationId, vmm, tls, limits, ...at }: AgentSettings,
  tell: Tell,
): Promise<void> {
  const tellRound: OnRound = (round) => round.complete && tell({ event: 'round', ...round });
  await using journal = await openJournal(at.journal);
  using guest = await VmmGuest.open(vmm, 'resume');
  await using agent = new SourceAgent(guest, () => connect(at.memoryAddress, tls), migrationId, tellRound);
  const { pause, resume } = agent;
  const stopMs = async (): Promise<number> => (await agent.rest.stopMs()) + (await guest.compareMs());
  const options = { migrationId, journal, pause, resume, rest: { ...agent.rest, stopMs }, ...limits };
  const table = await requestSource(vmm);
  tell({ event: 'begin' });
  const report = await sendHpt(table, () => connect(at.tableAddress, tls), options);
  await guest.leave();
  tell({ event: 'done', ...report, passes: report.passes.length });
}

/**
 * Takes a guest into the VMM here.
 *
 * @param over ends the wait for a source, and afterwards the answers to one that asks for the outcome; default: the answers
 *   end after {@link ANSWER_MS}
 */
export async function receive(
  { migrationId, vmm, tls, limits, ...at }: AgentSettings,
  tell: Tell,
  over?: AbortSignal,
): Promise<void> {
  await using journal = await openJournal(at.journal);
  using guest = await VmmGuest.open(vmm, 'commit');
  using tables = await listen(at.tableAddress, tls);
  using memories = await listen(at.memoryAddress, tls);
  const agent = new DestinationAgent(guest, migrationId);
  void (async () => {
    for await (const channel of memories) agent.take(channel);
  })();
  const discard = (reason: unknown): Promise<void> => agent.rest.discard(reason).then(() => guest.drop());
  const { timeoutMs, reconnectMs, guestTimeoutMs } = limits;
  const rest = { ...agent.rest, discard };
  const options = { migrationId, journal, rest, timeoutMs, reconnectMs, guestTimeoutMs, signal: over };
  tell({ event: 'listening' });
  await receiveHpt(() => requestTarget(vmm), tables, options);
  tell({ event: 'done' });
  const signal = over ?? AbortSignal.timeout(ANSWER_MS);
  await answerOutcomes(journal, tables, { signal }).catch(() => undefined);
}
