// The agent of one host, `source` or `destination`: moves the guest of the VMM here to the agent of the other host, or takes
// one from there. What it does it tells in lines of JSON.
import { writeSync } from 'node:fs';
import { receiveHpt } from '../../../lib/migration/destination/receive.js';
import { isInDoubt } from '../../../lib/migration/errors.js';
import { channels } from '../../../lib/migration/events.js';
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

/** JSON, in the agent's second argument. */
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
  /** Longest time without a word of the other agent; longest stop of the guest to aim at, and at all. */
  readonly limits: Pick<SendOptions, 'timeoutMs' | 'downtimeMs' | 'stopLimitMs'>;
}

/** Exit statuses beside 0: the guest is here, or has come. */
const FAILED = 1;
const IN_DOUBT = 4;
/** How long a source that has lost its connection can ask what became of the guest. */
const ANSWER_MS = 3000;

const tell = (event: object): unknown => writeSync(1, `${JSON.stringify(event)}\n`);
const tellRound: OnRound = (round) => round.complete && tell({ event: 'round', ...round });

async function send({ migrationId, vmm, tls, limits, ...at }: AgentSettings): Promise<void> {
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

async function receive({ migrationId, vmm, tls, limits, ...at }: AgentSettings): Promise<void> {
  await using journal = await openJournal(at.journal);
  using guest = await VmmGuest.open(vmm, 'commit');
  using tables = await listen(at.tableAddress, tls);
  using memories = await listen(at.memoryAddress, tls);
  const agent = new DestinationAgent(guest, migrationId);
  void (async () => {
    for await (const channel of memories) agent.take(channel);
  })();
  const discard = (reason: unknown): Promise<void> => agent.rest.discard(reason).then(() => guest.drop());
  const options = { migrationId, journal, rest: { ...agent.rest, discard }, timeoutMs: limits.timeoutMs };
  tell({ event: 'listening' });
  await receiveHpt(() => requestTarget(vmm), tables, options);
  tell({ event: 'done' });
  await answerOutcomes(journal, tables, { signal: AbortSignal.timeout(ANSWER_MS) }).catch(() => undefined);
}

channels.state.subscribe(({ state }) => tell({ event: 'state', state }));
const [side, settings = ''] = process.argv.slice(2);
try {
  await (side === 'source' ? send : receive)(JSON.parse(settings) as AgentSettings);
  process.exit(0);
} catch (error) {
  console.error(error);
  process.exit(isInDoubt(error) ? IN_DOUBT : FAILED);
}
