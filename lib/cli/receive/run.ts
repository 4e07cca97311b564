import { setImmediate } from 'node:timers/promises';
import type { PageShift } from '../../hpt/page-size.js';
import type { ReceiveReport } from '../../migration/destination/receive-report.js';
import { receiveHpt, type ReceiveOptions } from '../../migration/destination/receive.js';
import type { Journal } from '../../migration/journal/journal.js';
import { MemoryJournal } from '../../migration/journal/memory-journal.js';
import { answerOutcomes } from '../../migration/outcome.js';
import type { MigrationCommandOptions } from '../options/migration.js';
import { openForWriting, type OpenForWriting } from '../table/open.js';
import { EXIT_CODES } from '../errors/exit-codes.js';
import { formatBytes, formatCount } from '../report/format.js';
import { placeOf, type TableOptions } from '../table/place.js';
import { createReceiveDisplay } from '../report/progress.js';
import { Refusals } from '../report/refusals.js';
import type { Address } from '../../transport/address.js';
import { guestTimeoutOf } from '../guest/hook-options.js';
import { acceptedText, type AcceptedRest } from '../guest/moved-rest.js';
import { destinationRestOf, type DestinationRestCommands } from '../guest/rest-hooks.js';
import { decideDestinationRest, sparingRest } from './rest.js';
import type { OnRefused } from '../../transport/arrivals.js';
import { listenAt, type Listener } from '../../transport/listen.js';
import { loadSecurity } from '../../transport/security.js';
import type { Output } from '../output.js';
import { runMigration, serveMigrationMetrics, type MigrationJob } from '../migration-job.js';

export interface ReceiveCommandOptions
  extends TableOptions, MigrationCommandOptions, DestinationRestCommands {
  /** Longest time for what takes the rest of a guest. */
  readonly guestTimeoutMs: number;
  readonly migrationId?: string;
  readonly maxOrder?: number;
  readonly expectedOrder?: number;
  readonly minEntries: number;
  readonly minBoltedEntries: number;
  readonly pageShifts?: readonly PageShift[];
  /** How long to go on answering a source that asks for the outcome. */
  readonly answerMs: number;
}

type ReceiveJob = MigrationJob<ReceiveCommandOptions>;

/**
 * Receives the table of one guest from a `kvm-htab send`.
 *
 * @returns the exit code: 0 only if the guest may run here
 */
export async function receive(
  address: Address,
  options: ReceiveCommandOptions,
  output: Output,
  signal: AbortSignal,
): Promise<number> {
  return runMigration('destination', { address, options, output, signal }, async (job) => {
    try {
      await take(job);
      return EXIT_CODES.ok;
    } catch (error) {
      job.reporter.fail(error);
      throw error;
    }
  });
}

async function take(job: ReceiveJob): Promise<void> {
  const { address, options, signal, reporter, resources } = job;
  const { guestTimeoutMs } = options;
  const place = placeOf(options);
  const hooks = destinationRestOf(options, guestTimeoutMs);
  const security = await loadSecurity(address, options);
  await serveMigrationMetrics(job);
  const journal = (await resources.openJournal(options, signal)) ?? new MemoryJournal();
  const { rest, confirm } = await decideDestinationRest(place, hooks, guestTimeoutMs, reporter);
  const open = async (): Promise<OpenForWriting['table']> => {
    await confirm();
    const target = await openForWriting(options, options.timeoutMs);
    resources.add(() => target.close());
    return target.table;
  };
  // A VMM is asked only once a source comes with a table: a receiver that was started again must answer how the last
  // migration ended, even if its guest runs by now, or its VMM is gone.
  const target = place.kind === 'socket' ? open : await open();
  const refusals = new Refusals(reporter);
  resources.add(() => {
    refusals.close();
  });
  const listener = await listenAt(address, security, refusals.add);
  resources.add(() => {
    listener.close();
  });
  reporter.say(`listening at ${listener.address}`, 'listening', { address: listener.address });

  const onRefused = refusals.add;
  const report = await reporter.showing(createReceiveDisplay, (onProgress) =>
    receiveHpt(target, listener, {
      ...limitsOf(options),
      ...{ journal, onRefused, signal, onProgress },
      rest: rest && sparingRest(rest, resources),
    }),
  );
  const received = { ...report, rest: rest?.accepted };
  // The guest may run from here on: this is printed before anything else is done.
  reporter.finish(describe(received), received);
  // The acknowledgement leaves first: the guest may be stopped at the source until then.
  await setImmediate();
  reporter.digest(report);
  await answerLater(job, journal, listener, onRefused);
}

async function answerLater(
  { options: { answerMs, timeoutMs }, signal }: ReceiveJob,
  journal: Journal,
  listener: Listener,
  onRefused: OnRefused,
): Promise<void> {
  if (answerMs === 0) return;
  const over = AbortSignal.timeout(answerMs);
  await answerOutcomes(journal, listener, { timeoutMs, signal: AbortSignal.any([signal, over]), onRefused });
}

function limitsOf(options: ReceiveCommandOptions): ReceiveOptions {
  const { timeoutMs, reconnectMs, migrationId, guestTimeoutMs } = options;
  const { minEntries, minBoltedEntries, expectedOrder, maxOrder, pageShifts } = options;
  return {
    ...{ timeoutMs, reconnectMs, migrationId, guestTimeoutMs: guestTimeoutOf(guestTimeoutMs) },
    ...{ minEntries, minBoltedEntries, expectedOrder, maxOrder, pageShifts },
  };
}

/** What the command reports of a guest that has come. */
interface Received extends ReceiveReport {
  /** Undefined if a table came alone. */
  readonly rest: AcceptedRest | undefined;
}

function describe({ rest, ...report }: Received): string {
  const { migrationId, order, validEntries, passes, bytes, attempts } = report;
  const runs = rest === undefined ? 'may run' : 'runs';
  return `Received: order ${order}, ${formatCount(validEntries)} valid entries; the guest ${runs} here.

passes       ${passes} (${formatBytes(bytes)})
${rest === undefined ? '' : `rest         ${acceptedText(rest)}\n`}connections  ${attempts}
migration    ${migrationId}
`;
}
