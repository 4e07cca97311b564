import { receiveHpt } from '../../migration/destination/receive.js';
import type { SendReport } from '../../migration/source/send-report.js';
import { sendHpt } from '../../migration/source/send.js';
import { writeTable } from '../../snapshot/write-table.js';
import { loadTable } from '../../io/table-writer.js';
import { GuestWorkload } from '../../vm/emulated/guest-workload.js';
import type { HtabVm } from '../../vm/contract.js';
import { EmulatedVm } from '../../vm/emulated/emulated-vm.js';
import { EXIT_CODES } from '../errors/exit-codes.js';
import { jsonDocument, reportFields } from '../report/json.js';
import { formatBytes } from '../report/format.js';
import { createProgressDisplay } from '../report/progress.js';
import { readGuestTable, replaceTable } from './guest-image.js';
import { connectLoopback } from './loopback.js';
import { lookFurther } from './look-further.js';
import { tableRates } from './rates.js';
import { describeOutcome, type DemoOutcome } from './outcome.js';
import { RunningGuest } from '../../vm/emulated/running-guest.js';
import type { DemoOptions } from './demo-options.js';
import type { Output } from '../output.js';
import { compareVms } from './verdict.js';

/** The image is of a POWER8 guest, whose entries a POWER9 host need not hold whole (kernel-abi.md 3.1). */
const HOST = { host: 'power8' } as const;
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
  const guest = new RunningGuest(workload, { stepsPerSecond: rate });

  const begun = performance.now();
  let report: SendReport;
  try {
    guest.resume();
    report = await move({ source, target, guest, rate }, output, signal);
  } finally {
    await guest.pause();
  }

  const totalMs = performance.now() - begun;
  const verdict = await compareVms(source, target);
  const digest = report.digest();
  const verified = verdict.verified && verdict.sourceDigest === digest;
  const outcome: DemoOutcome = {
    format: 2,
    seed,
    rate,
    ...report,
    digest,
    totalMs,
    guest: workload.counts,
    ...verdict,
    verified,
  };
  const moved = target.table!;
  if (options.save !== undefined) await writeTable(moved, options.save, signal);
  output.stdout.write(
    options.json === true
      ? jsonDocument(reportFields(outcome))
      : describeOutcome(outcome) + lookFurther(moved, output, options.save),
  );
  return outcome.verified ? EXIT_CODES.ok : EXIT_CODES.failed;
}

/** What is moved, and where to. */
interface Machines {
  readonly source: HtabVm;
  readonly target: HtabVm;
  readonly guest: RunningGuest;
  readonly rate: number;
}

async function move(
  { source, target, guest, rate }: Machines,
  output: Output,
  signal: AbortSignal,
): Promise<SendReport> {
  const { client, server } = await connectLoopback();
  const display = createProgressDisplay(output.stderr);
  const rates = tableRates(rate);
  output.stderr.write(
    `two emulated machines; the rate is limited to ${formatBytes(rates.bytesPerSecond)}/s, so that there is something to see
`,
  );
  const sending = sendHpt(source, client, {
    pause: () => guest.pause(),
    resume: () => {
      guest.resume();
      return Promise.resolve();
    },
    ...rates,
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
    client.destroy();
    server.destroy();
  }
}
