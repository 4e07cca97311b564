import { randomUUID } from 'node:crypto';
import type { Duplex } from 'node:stream';
import type { NotConverging } from '../../migration/policy.js';
import { sendHpt, type SendOptions, type SendReport } from '../../migration/source.js';
import type { GuestCallbacks } from '../../io/guest-control.js';
import type { EndpointOptions } from '../commands/endpoint-options.js';
import type { MigrationCommandOptions } from '../commands/options.js';
import { openSource, type SourceEndpoint } from '../endpoints.js';
import { describeError } from '../describe-error.js';
import { EXIT_CODES, exitCodeOf } from '../exit-codes.js';
import { formatCount, formatDuration } from '../format.js';
import { guestTimeoutOf, hooksOf, type ControlOptions } from '../guest/hook-options.js';
import { passTable } from '../pass-table.js';
import type { Output } from '../program.js';
import { createProgressDisplay } from '../progress.js';
import { placeOf } from '../place.js';
import { Reporter } from '../reporter.js';
import { formatAddress, type Address } from '../transport/address.js';
import { connect } from '../transport/connect.js';
import { loadSecurity } from '../transport/security.js';
import { UsageError } from '../usage-error.js';
import { Resources } from './resources.js';

export interface SendCommandOptions extends EndpointOptions, MigrationCommandOptions, ControlOptions {
  readonly migrationId?: string;
  readonly downtimeMs: number;
  readonly maxPasses: number;
  readonly ifNotConverging: NotConverging;
  readonly bandwidth?: number;
  readonly recheckSource?: boolean;
}

/**
 * Moves the table of a guest to a `kvm-htab receive`.
 *
 * @returns the exit code: 0 only if the guest is the destination's
 */
export async function send(
  address: Address,
  options: SendCommandOptions,
  output: Output,
  signal: AbortSignal,
): Promise<number> {
  return Resources.use(async (resources) => {
    const reporter = new Reporter('source', output, options);
    resources.add(() => {
      reporter.close();
    });
    const begun = performance.now();
    let report: SendReport;
    try {
      report = await move(address, options, output, signal, reporter, resources);
    } catch (error) {
      reporter.fail(error);
      output.stderr.write(`kvm-htab: ${describeError(error)}${whereTheGuestIs(error)}\n`);
      return exitCodeOf(error);
    }
    reporter.finish(describe(report, address, performance.now() - begun), report);
    reporter.digest(report);
    return EXIT_CODES.ok;
  });
}

/** The errors for a guest that is stopped, or may be elsewhere, say so themselves; wrong usage concerns no guest. */
function whereTheGuestIs(error: unknown): string {
  const { usage, inDoubt, stopped } = EXIT_CODES;
  const says: readonly number[] = [usage, inDoubt, stopped];
  return says.includes(exitCodeOf(error)) ? '' : '; the guest runs on here';
}

async function move(
  address: Address,
  options: SendCommandOptions,
  output: Output,
  signal: AbortSignal,
  reporter: Reporter,
  resources: Resources,
): Promise<SendReport> {
  const hooks = hooksOf(options);
  checkUsage(options, hooks);
  const security = await loadSecurity(address, options);
  await resources.serveMetrics(options, reporter);
  const journal = await resources.openJournal(options, signal);
  const { migrationId = randomUUID() } = options;
  reporter.named(migrationId);

  // Before anything is asked of the guest: a peer that is not there, or not the right one, costs it nothing.
  const first = await connect(address, security, signal);
  resources.add(() => first.destroy());
  const peer = formatAddress(address);
  reporter.say(`connected to ${peer}`, 'connected', { address: peer, migrationId });
  const source = await openSource(options, options.pauseTimeoutMs);
  resources.add(() => source.close());
  const guest = hooks ?? source.control ?? STANDS_STILL;

  const display = reporter.forPeople ? createProgressDisplay(output.stderr) : undefined;
  const connections = [first];
  const channel = async (): Promise<Duplex> => connections.pop() ?? connect(address, security, signal);
  try {
    return await sendHpt(source.table, channel, {
      ...migrationOptions(options, guest, source),
      migrationId,
      journal,
      signal,
      onProgress: (progress) => {
        display?.update(progress);
        reporter.progress(progress);
      },
    });
  } finally {
    display?.stop();
  }
}

function migrationOptions(
  options: SendCommandOptions,
  guest: GuestCallbacks,
  { host }: SourceEndpoint,
): SendOptions {
  return {
    pause: () => guest.pause(),
    resume: () => guest.resume(),
    throttle: guest.throttle,
    host,
    bytesPerSecond: options.bandwidth,
    guestTimeoutMs: guestTimeoutOf(options),
    stopLimitMs: options.stopLimitMs,
    recheckSource: options.recheckSource,
    downtimeMs: options.downtimeMs,
    maxPasses: options.maxPasses,
    whenNotConverging: options.ifNotConverging,
    timeoutMs: options.timeoutMs,
    reconnectMs: options.reconnectMs,
  };
}

/** An emulated guest without a control of its own. */
const STANDS_STILL: GuestCallbacks = {
  pause: () => Promise.resolve(),
  resume: () => Promise.resolve(),
};

/**
 * A command line that is wrong costs the destination no connection.
 *
 * @throws UsageError for what the table's place, or the guest's control, does not offer
 */
function checkUsage(options: SendCommandOptions, hooks: GuestCallbacks | undefined): void {
  const { kind } = placeOf(options);
  if (kind === 'descriptor' && hooks === undefined) {
    // One that runs on would be in two places.
    throw new UsageError('say how to stop the guest: --on-pause and --on-resume, or a VMM at --htab-socket');
  }
  if (kind === 'descriptor' && options.recheckSource === true) {
    throw new UsageError('--recheck-source needs a VMM at --htab-socket, which can open the table again');
  }
  const canThrottle = hooks === undefined ? kind === 'socket' : hooks.throttle !== undefined;
  if (options.ifNotConverging === 'throttle' && !canThrottle) {
    throw new UsageError('--if-not-converging throttle needs --on-throttle, or a VMM at --htab-socket');
  }
}

function describe(report: SendReport, address: Address, totalMs: number): string {
  const { migrationId, order, validEntries, passes, attempts, stopMs, predictedStopMs } = report;
  const predicted = predictedStopMs === undefined ? '' : ` (${formatDuration(predictedStopMs)} predicted)`;
  return `Moved to ${formatAddress(address)}: order ${order}, ${formatCount(validEntries)} valid entries.

${passTable(passes, totalMs)}

guest stopped for  ${formatDuration(stopMs)}${predicted}
connections        ${attempts}
migration          ${migrationId}
`;
}
