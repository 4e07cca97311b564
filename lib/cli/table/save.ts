import { entryCount } from '../../hpt/geometry.js';
import { isVm } from '../../io/vm-or-handle.js';
import { saveSnapshot, type SaveReport } from '../../snapshot/save.js';
import type { EndpointOptions } from '../commands/endpoint-options.js';
import { openSource, type SourceEndpoint } from '../endpoints.js';
import { EXIT_CODES } from '../exit-codes.js';
import { formatBytes, formatCount, formatDuration, formatTable } from '../format.js';
import { jsonDocument } from '../json.js';
import { guestTimeoutOf, hooksOf, type ControlOptions } from '../guest/hook-options.js';
import type { Output } from '../program.js';
import { createProgressDisplay } from '../progress.js';

/** What `kvm-htab save` takes. */
export interface SaveCommandOptions extends EndpointOptions, ControlOptions {
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
  const { allowChanging = false, json = false, quiet = false } = options;
  const hooks = hooksOf(options);
  const source = await openSource(options, options.pauseTimeoutMs);
  const guest = hooks ?? source.control;
  const display = json || quiet ? undefined : createProgressDisplay(output.stderr);
  let report: SaveReport;
  try {
    report = await saveSnapshot(isVm(source.table) ? source.table : source.table.handle, file, {
      order: source.order,
      host: source.host,
      guest,
      guestTimeoutMs: guestTimeoutOf(options),
      stopLimitMs: options.stopLimitMs,
      maxPasses: options.maxPasses,
      maxChangedEntries: options.maxChanged,
      allowChanging,
      signal,
      // Whom nobody can stop, nobody has stopped.
      onProgress: (progress) => display?.update({ ...progress, live: progress.live || guest === undefined }),
    });
  } finally {
    display?.stop();
    await source.close();
  }
  if (json) output.stdout.write(jsonDocument({ file, source: source.name, ...report }));
  else if (!quiet) output.stdout.write(describe(file, source, report));
  return EXIT_CODES.ok;
}

function describe(file: string, { name }: SourceEndpoint, report: SaveReport): string {
  const { order, passes, validEntries, digest, quiescent, stopMs, fileBytes } = report;
  const rows = passes.map(({ validEntries: valid, invalidEntries: invalid, bytes }, k) => [
    String(k + 1),
    // In the first pass the invalid entries are all that is empty; later they are what the guest has removed.
    formatCount(k === 0 ? valid : valid + invalid),
    formatBytes(bytes),
  ]);
  return `Saved the table of ${name} to ${file}, ${formatBytes(fileBytes)}: order ${order}, ${formatCount(entryCount(order))} entries, \
${formatCount(validEntries)} of them valid.

${formatTable([['pass', 'entries', 'bytes'], ...rows])}

${stopMs === undefined ? 'guest              was not stopped' : `guest stopped for  ${formatDuration(stopMs)}`}
digest             ${digest}
${quiescent ? '' : 'THE TABLE STILL CHANGED: the snapshot mixes moments, to be looked at and not to be loaded\n'}`;
}
