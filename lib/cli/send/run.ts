import { randomUUID } from 'node:crypto';
import type { Duplex } from 'node:stream';
import type { NotConverging } from '../../precopy/policy.js';
import { sendHpt, type SendOptions } from '../../migration/source/send.js';
import type { GuestCallbacks } from '../../precopy/guest-options.js';
import type { MigrationCommandOptions } from '../options/migration.js';
import { Dialer } from '../../migration/wire/dialer.js';
import { openForReading, type OpenForReading } from '../table/open.js';
import { describeError } from '../errors/describe-error.js';
import { EXIT_CODES, exitCodeOf, isUsageError } from '../errors/exit-codes.js';
import { formatCount, formatDuration, formatStop } from '../report/format.js';
import { guestTimeoutOf, hooksOf, type ControlOptions } from '../guest/hook-options.js';
import { finishedText, type FinishedRest } from '../guest/moved-rest.js';
import { sourceRestOf, type SourceRestCommands } from '../guest/rest-hooks.js';
import { decideSourceRest } from './rest.js';
import { passTable } from '../report/pass-table.js';
import { createProgressDisplay } from '../report/progress.js';
import { NOT_RECHECKED, placeOf, type TableOptions } from '../table/place.js';
import { formatAddress, type Address } from '../../transport/address.js';
import { connectTo } from '../../transport/connect.js';
import { loadSecurity } from '../../transport/security.js';
import { UsageError } from '../errors/usage-error.js';
import type { SendReport } from '../../migration/source/send-report.js';
import type { Output } from '../output.js';
import { runMigration, serveMigrationMetrics, type MigrationJob } from '../migration-job.js';

export interface SendCommandOptions
  extends TableOptions, MigrationCommandOptions, ControlOptions, SourceRestCommands {
  readonly migrationId?: string;
  readonly downtimeMs: number;
  readonly maxPasses: number;
  readonly ifNotConverging: NotConverging;
  readonly bandwidth?: number;
  readonly recheckSource?: boolean;
  readonly scanShare: number;
  readonly waitMs: number;
}

type SendJob = MigrationJob<SendCommandOptions>;

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
  return runMigration('source', { address, options, output, signal }, async (job) => {
    const { reporter } = job;
    const begun = performance.now();
    const opened: { guest?: GuestCallbacks | undefined } = {};
    let report: Moved;
    try {
      report = await move(job, opened);
    } catch (error) {
      reporter.fail(error);
      output.stderr.write(
        `kvm-htab: ${describeError(error)}${whereTheGuestIs(error, options, opened.guest)}\n`,
      );
      return exitCodeOf(error);
    }
    reporter.finish(describe(report, address, performance.now() - begun, options.stopLimitMs), report);
    reporter.digest(report);
    return EXIT_CODES.ok;
  });
}

/** Errors of a guest that is stopped, or may be elsewhere, say so themselves; invalid usage concerns no guest. */
function whereTheGuestIs(
  error: unknown,
  { alreadyPaused }: SendCommandOptions,
  guest: GuestCallbacks | undefined,
): string {
  const { usage, inDoubt, stopped } = EXIT_CODES;
  const says: readonly number[] = [usage, inDoubt, stopped];
  if (says.includes(exitCodeOf(error))) return '';
  if (alreadyPaused === true) return '; the guest is here, paused as before';
  // A monitor leaves a guest alone that stood still before, and tells so only once it is to stop it.
  return guest?.pausedBefore === undefined
    ? '; the guest runs on here'
    : '; the guest is here, as it was before';
}

/** What the command reports of a guest that has moved. */
interface Moved extends SendReport {
  /** Undefined if the table moved alone. */
  readonly rest: FinishedRest | undefined;
}

/** @param opened gets the guest's control, for a caller that tells of a failure */
async function move(job: SendJob, opened: { guest?: GuestCallbacks | undefined }): Promise<Moved> {
  const { address, options, signal, reporter, resources } = job;
  const hooks = hooksOf(options);
  const restHooks = sourceRestOf(options, options.pauseTimeoutMs);
  checkUsage(options, hooks);
  const security = await loadSecurity(address, options);
  await serveMigrationMetrics(job);
  const journal = await resources.openJournal(options, signal);
  const { migrationId = randomUUID() } = options;
  reporter.named(migrationId);

  // Before the guest is touched: a missing or wrong peer must not cost it anything.
  const dial = (): Promise<Duplex> => connectTo(address, security, signal);
  const { timeoutMs, waitMs, reconnectMs } = options;
  const limits = { migrationId, timeoutMs, waitMs, reconnectMs, maxReconnects: Infinity };
  const dialer = new Dialer(dial, limits);
  const first = await firstConnection(dialer, signal);
  resources.add(() => first.destroy());
  const peer = formatAddress(address);
  const source = await openForReading(options, options.pauseTimeoutMs, signal);
  resources.add(() => source.close());
  const guest = options.alreadyPaused === true ? undefined : (hooks ?? source.control ?? NEVER_RUNS);
  opened.guest = guest;
  const rest = await decideSourceRest(placeOf(options), restHooks, options.pauseTimeoutMs, reporter);

  const connections = [first];
  const channel = async (): Promise<Duplex> => {
    const connection = connections.pop() ?? (await dial());
    reporter.say(`connected to ${peer}`, 'connected', { address: peer, migrationId });
    return connection;
  };
  const { waitLeftMs } = dialer;
  const settings = { ...migrationOptions(options, guest, source), waitMs: waitLeftMs, migrationId, journal };
  const report = await reporter.showing(createProgressDisplay, (onProgress) =>
    sendHpt(source.table, channel, { ...settings, rest, signal, onProgress }),
  );
  return { ...report, rest: rest?.finished };
}

/** Connects before the guest is touched; tries again within the limits, unless the command line is wrong. */
async function firstConnection(dialer: Dialer, signal: AbortSignal): Promise<Duplex> {
  for (;;) {
    try {
      return await dialer.connect(signal);
    } catch (error) {
      const { cause = error } = error as Error;
      if (signal.aborted || isUsageError(cause) || !(await dialer.backOff(cause, signal))) throw cause;
    }
  }
}

function migrationOptions(
  options: SendCommandOptions,
  guest: GuestCallbacks | undefined,
  { host }: OpenForReading,
): SendOptions {
  return {
    ...(guest === undefined
      ? { alreadyPaused: true }
      : {
          ...{ pause: () => guest.pause(), resume: () => guest.resume(), throttle: guest.throttle },
          ...{ confirmStopped: guest.confirmStopped, pausedBefore: guest.pausedBefore },
        }),
    host,
    bytesPerSecond: options.bandwidth,
    guestTimeoutMs: guestTimeoutOf(options.pauseTimeoutMs),
    stopLimitMs: options.stopLimitMs,
    recheckSource: options.recheckSource,
    scanShare: options.scanShare,
    downtimeMs: options.downtimeMs,
    maxPasses: options.maxPasses,
    whenNotConverging: options.ifNotConverging,
    timeoutMs: options.timeoutMs,
    reconnectMs: options.reconnectMs,
  };
}

/** An emulated guest that does not run. */
const NEVER_RUNS: GuestCallbacks = {
  pause: () => Promise.resolve(),
  resume: () => Promise.resolve(),
};

/**
 * Refuses a wrong command line before it costs the destination a connection.
 *
 * @throws UsageError for what the table's place, or the control of the guest, does not offer
 */
function checkUsage(options: SendCommandOptions, hooks: GuestCallbacks | undefined): void {
  const { kind } = placeOf(options);
  const { alreadyPaused = false } = options;
  const hasQmp = options.qmp !== undefined;
  const isBare = kind === 'descriptor' || kind === 'attach';
  if (isBare && hooks === undefined && !alreadyPaused && !hasQmp) {
    // A guest that runs on would run twice.
    throw new UsageError(
      'no way to stop the guest: give --qmp, --on-pause and --on-resume, or a VMM at --htab-socket; or --already-paused if ' +
        'it is stopped already',
    );
  }
  if (kind === 'descriptor' && options.recheckSource === true) {
    throw new UsageError('--recheck-source needs a VMM at --htab-socket, which can open the table again');
  }
  const canThrottle =
    hooks === undefined ? kind === 'socket' && !alreadyPaused && !hasQmp : hooks.throttle !== undefined;
  if (options.ifNotConverging === 'throttle' && !canThrottle) {
    throw new UsageError('--if-not-converging throttle needs --on-throttle, or a VMM at --htab-socket');
  }
}

function describe(report: Moved, address: Address, totalMs: number, stopLimitMs: number): string {
  const { migrationId, order, validEntries, passes, attempts, stopMs, predictedStopMs, rest } = report;
  const predicted = predictedStopMs === undefined ? '' : ` (${formatDuration(predictedStopMs)} predicted)`;
  const restLine = rest === undefined ? '' : `rest               ${finishedText(rest)}\n`;
  return `Moved to ${formatAddress(address)}: order ${order}, ${formatCount(validEntries)} valid entries.

${passTable(passes, totalMs)}

${stopMs === undefined ? 'guest              was paused before' : `guest stopped for  ${formatStop(stopMs, stopLimitMs)}${predicted}`}
${restLine}connections        ${attempts}
migration          ${migrationId}
${report.sourceRechecked ? '' : NOT_RECHECKED}`;
}
