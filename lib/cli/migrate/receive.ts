import { setImmediate } from 'node:timers/promises';
import { receiveHpt, type ReceiveReport } from '../../migration/destination.js';
import { MemoryJournal } from '../../migration/journal.js';
import { answerOutcomes } from '../../migration/outcome.js';
import type { EndpointOptions } from '../commands/endpoint-options.js';
import type { MigrationCommandOptions } from '../commands/options.js';
import { describeError } from '../describe-error.js';
import { openTarget, type TargetEndpoint } from '../endpoints.js';
import { EXIT_CODES } from '../exit-codes.js';
import { formatBytes, formatCount } from '../format.js';
import { placeOf } from '../place.js';
import type { Output } from '../program.js';
import { createReceiveDisplay } from '../progress.js';
import { Reporter } from '../reporter.js';
import type { Address } from '../transport/address.js';
import { listen } from '../transport/listen.js';
import { loadSecurity } from '../transport/security.js';
import { Resources } from './resources.js';

export interface ReceiveCommandOptions extends EndpointOptions, MigrationCommandOptions {
  readonly maxOrder?: number;
  readonly minEntries: number;
  /** How long to go on answering a source that asks for the outcome. */
  readonly answerMs: number;
}

/**
 * Takes the table of one guest from a `kvm-htab send`.
 *
 * @returns the exit code: 0 only if the guest may run here
 */
export async function receive(
  address: Address,
  options: ReceiveCommandOptions,
  output: Output,
  signal: AbortSignal,
): Promise<number> {
  return Resources.use(async (resources) => {
    const reporter = new Reporter('destination', output, options);
    resources.add(() => {
      reporter.close();
    });
    try {
      await take(address, options, output, signal, reporter, resources);
      return EXIT_CODES.ok;
    } catch (error) {
      reporter.fail(error);
      throw error;
    }
  });
}

async function take(
  address: Address,
  options: ReceiveCommandOptions,
  output: Output,
  signal: AbortSignal,
  reporter: Reporter,
  resources: Resources,
): Promise<void> {
  const security = await loadSecurity(address, options);
  await resources.serveMetrics(options, reporter);
  const journal = (await resources.openJournal(options, signal)) ?? new MemoryJournal();
  const open = async (): Promise<TargetEndpoint['table']> => {
    const target = await openTarget(options, options.timeoutMs);
    resources.add(() => target.close());
    return target.table;
  };
  // A VMM is asked only once a source comes with a table: a receiver that was started again must be able to tell how the
  // last migration ended, though its guest may run by now, or its VMM be gone.
  const target = placeOf(options).kind === 'socket' ? open : await open();
  const refused = (reason: unknown, from?: string): void => {
    const message = describeError(reason);
    reporter.say(`refused ${from ?? 'a peer'}: ${message}`, 'refused', { from, message });
  };
  const listener = await listen(address, security, refused);
  resources.add(() => {
    listener.close();
  });
  reporter.say(`listening at ${listener.address}`, 'listening', { address: listener.address });

  const display = reporter.forPeople ? createReceiveDisplay(output.stderr) : undefined;
  let report: ReceiveReport;
  try {
    report = await receiveHpt(target, listener, {
      timeoutMs: options.timeoutMs,
      reconnectMs: options.reconnectMs,
      minEntries: options.minEntries,
      maxOrder: options.maxOrder,
      journal,
      signal,
      onRefused: refused,
      onProgress: (progress) => {
        display?.update(progress);
        reporter.progress(progress);
      },
    });
  } finally {
    display?.stop();
  }
  // The guest may run from here on, so this is said before anything else is done.
  reporter.finish(describe(report), report);
  // The acknowledgement leaves first: the guest may stand still at the source until then.
  await setImmediate();
  reporter.digest(report);
  if (options.answerMs > 0) {
    const over = AbortSignal.timeout(options.answerMs);
    await answerOutcomes(journal, listener, { signal: AbortSignal.any([signal, over]) });
  }
}

function describe(report: ReceiveReport): string {
  const { migrationId, order, validEntries, passes, bytes, attempts } = report;
  return `Received: order ${order}, ${formatCount(validEntries)} valid entries; the guest may run here.

passes       ${passes} (${formatBytes(bytes)})
connections  ${attempts}
migration    ${migrationId}
`;
}
