import type { Duplex } from 'node:stream';
import { EXIT_CODES } from '../errors/exit-codes.js';
import type { MetricsOptions } from '../options/migration.js';
import type { Output } from '../output.js';
import { EventReporter, type ReportOptions } from '../report/event-reporter.js';
import { Refusals } from '../report/refusals.js';
import { Resources } from '../resources.js';
import { relayMigration } from '../../qemu/relay/relay.js';
import type { RelayProgress } from '../../qemu/relay/relay-options.js';
import type { RelayReport } from '../../qemu/relay/relay-report.js';
import type { Address } from '../../transport/address.js';
import { connectTo } from '../../transport/connect.js';
import { listenAt } from '../../transport/listen.js';
import { loadSecurity } from '../../transport/security.js';
import type { RelayMetrics } from './metrics.js';
import { STATE_LINES, createRelayDisplay, describeRelay, whereTheGuestIs } from './text.js';

export interface RelayCommandOptions extends MetricsOptions, ReportOptions {
  readonly minEntries: number;
  readonly expectDigest?: string;
  readonly insecurePlaintext?: boolean;
}

interface RelayJob {
  readonly from: Address;
  readonly to: Address;
  readonly options: RelayCommandOptions;
  readonly signal: AbortSignal;
}

/**
 * Passes one migration on.
 *
 * @returns the exit code: 0 only if the destination has taken the guest
 */
export function relay(job: RelayJob, output: Output): Promise<number> {
  return Resources.use(async (resources) => {
    const reporter = new EventReporter(output, job.options);
    let last: RelayProgress | undefined;
    try {
      const report = await passOn(job, reporter, resources, (progress) => {
        if (progress.state !== last?.state)
          reporter.say(STATE_LINES[progress.state], 'state', { state: progress.state });
        last = progress;
      });
      finish(reporter, report);
      return EXIT_CODES.ok;
    } catch (error) {
      if (!job.options.json) reporter.say(whereTheGuestIs(last, error), 'state');
      reporter.fail(error, { state: last?.state, returnPath: last?.returnPath });
      throw error;
    }
  });
}

async function passOn(
  { from, to, options, signal }: RelayJob,
  reporter: EventReporter,
  resources: Resources,
  watch: (progress: RelayProgress) => void,
): Promise<RelayReport> {
  const { minEntries, expectDigest } = options;
  const security = await loadSecurity(from, options);
  const toSecurity = await loadSecurity(to, options);
  let metrics: RelayMetrics | undefined;
  await resources.serveMetrics(options, reporter, async () => {
    const { RelayMetrics } = await import('./metrics.js');
    return (registry) => {
      metrics = new RelayMetrics(registry);
      return () => undefined;
    };
  });
  const refusals = new Refusals(reporter);
  resources.add(() => {
    refusals.close();
  });
  const listener = await listenAt(from, security, refusals.add);
  resources.add(() => {
    listener.close();
  });
  reporter.say(`listening at ${listener.address}`, 'listening', { address: listener.address });
  const connect = (ended: AbortSignal): Promise<Duplex> => connectTo(to, toSecurity, ended);
  return reporter.showing(createRelayDisplay, (show) =>
    relayMigration(listener, connect, {
      ...{ minEntries, expectDigest, signal, onRefused: refusals.add },
      onProgress: (progress) => {
        watch(progress);
        metrics?.update(progress);
        show(progress);
      },
    }),
  );
}

function finish(reporter: EventReporter, report: RelayReport): void {
  reporter.finish(describeRelay(report), report);
  reporter.digest(report);
}
