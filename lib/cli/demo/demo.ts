import { receiveHpt } from '../../migration/destination.js';
import { MAX_DATA_BYTES } from '../../migration/protocol.js';
import { sendHpt, type SendReport } from '../../migration/source.js';
import { GuestWorkload } from '../../testing/workload.js';
import type { HtabVm } from '../../vm/contract.js';
import { EmulatedVm } from '../../vm/emulated/emulated-vm.js';
import { EXIT_CODES } from '../exit-codes.js';
import { jsonDocument } from '../json.js';
import type { Output } from '../program.js';
import { formatBytes } from '../format.js';
import { createProgressDisplay } from '../progress.js';
import { loadTable, readGuestTable, replaceTable } from './guest-image.js';
import { connectLoopback, type Loopback } from './loopback.js';
import { describeOutcome, type Outcome } from './outcome.js';
import { RunningGuest } from './running-guest.js';
import { compareVms } from './verdict.js';

/** What the guest and its table are to be like. */
export interface DemoOptions {
  /** Seed of what the guest does. */
  readonly seed: number;
  /** log2 of the table's bytes. */
  readonly order: number;
  /** Steps the guest takes per second. */
  readonly rate: number;
  /** Print the outcome as JSON. */
  readonly json?: boolean;
}

/** The image is of a POWER8 guest, whose entries a POWER9 host need not hold whole (kernel-abi.md 3.1). */
const HOST = { host: 'power8' } as const;
/** So slow that the first pass, some 420 kB, takes a while ... */
const BYTES_PER_SECOND = 160_000;
/** ... and yet some four times what the guest changes, so that each pass is shorter than the one before. */
const BYTES_PER_STEP = 20;
/** Frames short enough for the eye to follow the progress. */
const FRAMES_PER_SECOND = 20;
const MAX_CHANGED_ENTRIES = 64;
const MAX_PASSES = 10;

/**
 * Moves the table of a real Linux guest, kept busy by a workload, from one emulated VM to another over TCP on this
 * machine, and compares the two tables at the end.
 *
 * @returns the exit code: 0 only if both tables are equal
 */
export async function demo(options: DemoOptions, output: Output, signal: AbortSignal): Promise<number> {
  const { seed, order, rate } = options;
  const source = new EmulatedVm(HOST);
  const target = new EmulatedVm(HOST);
  await loadTable(source, replaceTable(await readGuestTable(), order));
  const workload = new GuestWorkload(source, { seed });
  const guest = new RunningGuest(workload, rate);

  const loopback = await connectLoopback();
  const begun = performance.now();
  let report: SendReport;
  try {
    guest.resume();
    report = await move(source, target, loopback, guest, options, output, signal);
  } finally {
    await guest.pause();
    loopback.client.destroy();
    loopback.server.destroy();
  }

  const totalMs = performance.now() - begun;
  const verdict = await compareVms(source, target);
  const digest = report.digest();
  const verified = verdict.verified && verdict.sourceDigest === digest;
  const outcome: Outcome = {
    format: 1,
    seed,
    rate,
    ...report,
    digest,
    totalMs,
    guest: workload.counts,
    ...verdict,
    verified,
  };
  output.stdout.write(options.json === true ? jsonDocument(outcome) : describeOutcome(outcome));
  return outcome.verified ? EXIT_CODES.ok : EXIT_CODES.failed;
}

async function move(
  source: HtabVm,
  target: HtabVm,
  { client, server }: Loopback,
  guest: RunningGuest,
  { rate }: DemoOptions,
  output: Output,
  signal: AbortSignal,
): Promise<SendReport> {
  const display = createProgressDisplay(output.stderr);
  const bytesPerSecond = Math.max(BYTES_PER_SECOND, rate * BYTES_PER_STEP);
  output.stderr.write(
    `two emulated machines; the rate is limited to ${formatBytes(bytesPerSecond)}/s, so that there is something to see
`,
  );
  const sending = sendHpt(source, client, {
    pause: () => guest.pause(),
    resume: () => {
      guest.resume();
      return Promise.resolve();
    },
    maxChangedEntries: MAX_CHANGED_ENTRIES,
    maxPasses: MAX_PASSES,
    bytesPerSecond,
    frameBytes: Math.min(Math.round(bytesPerSecond / FRAMES_PER_SECOND), MAX_DATA_BYTES),
    signal,
    onProgress: (progress) => {
      display.update(progress);
    },
  });
  const receiving = receiveHpt(target, server, { signal });
  try {
    const [report] = await Promise.all([sending, receiving]);
    return report;
  } finally {
    await Promise.allSettled([sending, receiving]);
    display.stop();
  }
}
