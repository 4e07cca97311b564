import { forOption } from '../../base/for-option.js';
import { entryCount } from '../../hpt/geometry.js';
import { wholeTable } from '../../qemu/guest-file.js';
import { connectQmp } from '../../qemu/qmp/connection.js';
import type { QemuTable, QemuTablePlan } from '../../qemu/qmp/qemu-table-options.js';
import { readQemuTable } from '../../qemu/qmp/read-qemu-table.js';
import type { SnapshotInfo } from '../../snapshot/layout.js';
import { openSink } from '../../snapshot/sink.js';
import { writeTableTo } from '../../snapshot/write-table.js';
import { describeError } from '../errors/describe-error.js';
import { EXIT_CODES } from '../errors/exit-codes.js';
import { UsageError } from '../errors/usage-error.js';
import type { ControlOptions } from '../guest/hook-options.js';
import type { Output } from '../output.js';
import { formatBytes, formatCount, formatStop } from '../report/format.js';
import { jsonDocument } from '../report/json.js';
import { createStreamDisplay } from '../report/stream-progress.js';
import { STANDARD_STREAM, outputOf, resultOutput } from '../table/standard-stream.js';

/** What `kvm-htab save` takes where a monitor is all that leads to the table. */
interface SaveFromQemuOptions extends ControlOptions {
  readonly qmp: string;
  readonly order?: number;
  readonly json?: boolean;
  readonly quiet?: boolean;
}

/** States of a guest that ran: it still does, or someone else has stopped it. */
const HARMLESS: ReadonlySet<string> = new Set(['running', 'paused']);

interface Taken {
  readonly stopLimitMs: number;
  readonly plan: QemuTablePlan;
  readonly table: QemuTable;
}

/**
 * Saves the table of a guest that QEMU migrates to this process, and that goes on.
 *
 * @returns the exit code: 0 once the file is on the disk and the guest is as it was; 5 if it does not run any more
 */
export async function saveFromQemu(
  file: string,
  options: SaveFromQemuOptions,
  output: Output,
  signal: AbortSignal,
): Promise<number> {
  const { qmp: path, json = false, quiet = false } = options;
  if (options.order !== undefined)
    throw new UsageError('--order is not needed with --qmp alone: QEMU tells it');
  // A file that cannot be written must not cost the guest a stop.
  const sink = await openSink(outputOf(file, output), signal);
  let taken: Taken;
  let saved: SnapshotInfo;
  try {
    taken = await take(options, output, signal);
    // The guest runs again by now: a slow disk costs it nothing.
    saved = await writeTableTo(sink, wholeTable(taken.table.stream), signal);
  } finally {
    await sink.discard();
  }
  const { stream, stopMs, guestState, settingsError } = taken.table;
  if (settingsError !== undefined && !json) output.stderr.write(`${describeError(settingsError)}\n`);
  const { order, validEntries, digest, fileBytes } = saved;
  const { machine, streamBytes, findings } = stream;
  const result = resultOutput(file, output);
  if (json) {
    const { bytes: memoryBytes, sharedBytes } = taken.plan;
    const report = {
      file,
      source: path,
      machine,
      order,
      validEntries,
      digest,
      fileBytes,
      stopMs,
      guestState,
    };
    const settingsRestored = settingsError === undefined;
    result.write(
      jsonDocument({ ...report, settingsRestored, memoryBytes, sharedBytes, streamBytes, findings }),
    );
  } else if (!quiet) {
    result.write(describe(file, path, saved, taken));
  }
  if (!taken.plan.running || HARMLESS.has(guestState)) return EXIT_CODES.ok;
  output.stderr.write(`kvm-htab: the guest ran before, and does not any more: QEMU says ${guestState}\n`);
  return EXIT_CODES.stopped;
}

async function take(
  { qmp: path, json = false, quiet = false, stopLimitMs, pauseTimeoutMs }: SaveFromQemuOptions,
  { stderr }: Output,
  signal: AbortSignal,
): Promise<Taken> {
  using qmp = await forOption('qmp', connectQmp(path, { timeoutMs: pauseTimeoutMs, signal }));
  const display = json || quiet ? undefined : createStreamDisplay(stderr);
  let plan: QemuTablePlan = { bytes: 0, sharedBytes: 0, running: false };
  const onBegin = (asked: QemuTablePlan): void => {
    plan = asked;
    if (!json && !quiet) stderr.write(intention(path, asked));
  };
  try {
    const table = await readQemuTable(qmp, { stopLimitMs, signal, onBegin, onProgress: display?.update });
    return { stopLimitMs, plan, table };
  } finally {
    display?.stop();
  }
}

/** What is going to be done to a guest, before it is. */
function intention(path: string, { bytes, sharedBytes, running }: QemuTablePlan): string {
  const shared = sharedBytes === 0 ? '' : ` (${formatBytes(sharedBytes)} shared, and left out)`;
  const guest = running
    ? 'it runs on meanwhile, stands still for the last part, and then goes on'
    : 'it stands still, and is left so (QEMU 7.2 migrates it again only after a cont)';
  return `the QEMU at ${path} migrates its guest to this command, which keeps the page table only: ${guest}. \
Memory of the guest: ${formatBytes(bytes)}${shared}
`;
}

function describe(
  file: string,
  path: string,
  { order, validEntries, digest, fileBytes }: SnapshotInfo,
  { stopLimitMs, plan, table: { stream, stopMs, guestState } }: Taken,
): string {
  const target = file === STANDARD_STREAM ? 'standard output' : file;
  const stood =
    stopMs === undefined
      ? 'guest              was not let run here'
      : `guest stopped for  ${formatStop(stopMs, stopLimitMs)}`;
  return `Saved the table of the guest of ${path} to ${target}, ${formatBytes(fileBytes)}: order ${order}, \
${formatCount(entryCount(order))} entries, ${formatCount(validEntries)} of them valid.

${plan.running ? stood : 'guest              was paused before'}
guest is           ${guestState}
stream             ${formatBytes(stream.streamBytes)}, machine ${stream.machine}
digest             ${digest}
${stream.findings.map(({ kind, message }) => `odd: ${kind}: ${message}\n`).join('')}`;
}
