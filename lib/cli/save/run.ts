import { entryCount } from '../../hpt/geometry.js';
import { isVm } from '../../io/vm-or-handle.js';
import { NOT_RECHECKED, hasPlace, placeOf, type TableOptions } from '../table/place.js';
import { saveSnapshot, type SaveReport } from '../../snapshot/save.js';
import { openForReading, type OpenForReading } from '../table/open.js';
import { EXIT_CODES } from '../errors/exit-codes.js';
import { formatBytes, formatCount, formatStop, formatTable } from '../report/format.js';
import { jsonDocument, reportFields } from '../report/json.js';
import { guestTimeoutOf, hooksOf, type ControlOptions } from '../guest/hook-options.js';
import type { Output } from '../output.js';
import { createProgressDisplay } from '../report/progress.js';
import { STANDARD_STREAM, checkDataOutput, resultOutput } from '../table/standard-stream.js';

/** What `kvm-htab save` takes. */
export interface SaveCommandOptions extends TableOptions, ControlOptions {
  readonly maxPasses: number;
  readonly maxChanged: number;
  readonly allowChanging?: boolean;
  readonly json?: boolean;
  readonly quiet?: boolean;
}

/**
 * Saves a table to a file.
 *
 * @returns the exit code: 0 once the file is on the disk
 */
export async function save(
  file: string,
  options: SaveCommandOptions,
  output: Output,
  signal: AbortSignal,
): Promise<number> {
  const { allowChanging = false, alreadyPaused = false, json = false, quiet = false } = options;
  const toStream = file === STANDARD_STREAM;
  if (toStream) checkDataOutput(output);
  if (options.qmp !== undefined && !hasPlace(options)) {
    const { saveFromQemu } = await import('./from-qemu.js');
    return saveFromQemu(file, { ...options, qmp: options.qmp }, output, signal);
  }
  // Told here that --qmp would do: of all commands, this one takes it alone.
  if (!hasPlace(options)) placeOf(options, '--qmp, ');
  const hooks = hooksOf(options);
  const source = await openForReading(options, options.pauseTimeoutMs, signal);
  const guest: OpenForReading['control'] = alreadyPaused ? undefined : (hooks ?? source.control);
  const display = json || quiet ? undefined : createProgressDisplay(output.stderr);
  let report: SaveReport;
  try {
    const { table } = source;
    report = await saveSnapshot(isVm(table) ? table : table.handle, toStream ? output.stdout : file, {
      reopen: isVm(table) ? undefined : table.reopen,
      order: source.order,
      host: source.host,
      guest,
      guestTimeoutMs: guestTimeoutOf(options.pauseTimeoutMs),
      stopLimitMs: options.stopLimitMs,
      maxPasses: options.maxPasses,
      maxChangedEntries: options.maxChanged,
      allowChanging,
      signal,
      // Without a way to pause it, and without --already-paused, the guest may run.
      onProgress: (progress) =>
        display?.update({ ...progress, live: progress.live || (guest === undefined && !alreadyPaused) }),
    });
  } finally {
    display?.stop();
    await source.close();
  }
  const stoodBefore = alreadyPaused || guest?.pausedBefore?.() === true;
  const result = resultOutput(file, output);
  if (json) result.write(jsonDocument({ file, source: source.name, ...reportFields(report) }));
  else if (!quiet) {
    const stood = stopText(report, stoodBefore, options.stopLimitMs);
    result.write(describe(toStream ? 'standard output' : file, source, report, stood));
  }
  return EXIT_CODES.ok;
}

function stopText({ stopMs }: SaveReport, stoodBefore: boolean, limitMs: number): string {
  if (stopMs !== undefined) return `guest stopped for  ${formatStop(stopMs, limitMs)}`;
  return `guest              ${stoodBefore ? 'was paused before' : 'was not stopped'}`;
}

function describe(file: string, { name }: OpenForReading, report: SaveReport, stood: string): string {
  const { order, passes, validEntries, digest, quiescent, sourceRechecked, fileBytes } = report;
  const rows = passes.map(({ validEntries: valid, invalidEntries: invalid, bytes }, k) => [
    String(k + 1),
    // In the first pass the invalid entries are all that is empty; later they are what the guest has removed.
    formatCount(k === 0 ? valid : valid + invalid),
    formatBytes(bytes),
  ]);
  return `Saved the table of ${name} to ${file}, ${formatBytes(fileBytes)}: order ${order}, ${formatCount(entryCount(order))} entries, \
${formatCount(validEntries)} of them valid.

${formatTable([['pass', 'entries', 'bytes'], ...rows])}

${stood}
digest             ${digest}
${quiescent ? '' : 'THE TABLE STILL CHANGED: the snapshot mixes moments; look at it, do not load it\n'}\
${quiescent && !sourceRechecked ? NOT_RECHECKED : ''}`;
}
