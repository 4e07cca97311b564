import { setImmediate } from 'node:timers/promises';
import { sleep } from '../../base/time.js';
import { linuxGuest } from '../../inspect/linux-guest.js';
import { tableStats } from '../../inspect/table-stats.js';
import { AtomicFile } from '../../snapshot/atomic-file.js';
import { EXIT_CODES } from '../errors/exit-codes.js';
import { UsageError } from '../errors/usage-error.js';
import type { PassOptions } from '../options/passes.js';
import type { Output } from '../output.js';
import { formatBytes, formatCount } from '../report/format.js';
import { jsonDocument } from '../report/json.js';
import { lateDisplay } from '../report/late-display.js';
import { createLineDisplay } from '../report/progress.js';
import { WatchedTable, type TablePass } from '../table/watched-table.js';
import { lookAtTable, lookingOf } from '../table/look.js';
import type { TableOptions } from '../table/place.js';
import { resultOutput, STANDARD_STREAM } from '../table/standard-stream.js';
import { documentOf } from './document.js';
import type { Looked } from './looked.js';

/** What `kvm-htab report` takes. */
export interface ReportCommandOptions extends TableOptions, PassOptions {
  readonly passes: number;
  readonly output: string;
  readonly json?: boolean;
}

/**
 * Writes a report on a table.
 *
 * @returns the exit code: 0 once the file is on the disk
 */
export async function report(
  file: string | undefined,
  options: ReportCommandOptions,
  output: Output,
  signal: AbortSignal,
): Promise<number> {
  const { output: target, passes, json = false } = options;
  if (passes > 1 && file !== undefined)
    throw new UsageError('--passes is for a live guest: a file does not change');
  const read =
    passes > 1 ? await readPasses(options, output, signal) : await readOnce(file, options, output, signal);
  const stats = tableStats(read.table);
  const text = documentOf({ ...read, stats, guest: linuxGuest(stats) });
  const bytes = Buffer.from(text);
  // Counting and drawing let no signal in.
  await setImmediate();
  signal.throwIfAborted();
  if (target === STANDARD_STREAM) output.stdout.write(bytes);
  else await writeFile(target, bytes, signal);
  const { name, table } = read;
  const result = resultOutput(target, output);
  if (json) {
    const { order, validCount: validEntries } = table;
    result.write(
      jsonDocument({ source: name, output: target, order, validEntries, passes, fileBytes: bytes.length }),
    );
  } else {
    result.write(
      `Report on the table of ${name}, ${formatCount(table.validCount)} valid entries: ${target}, ${formatBytes(bytes.length)}\n`,
    );
  }
  return EXIT_CODES.ok;
}

type Read = Omit<Looked, 'stats' | 'guest'>;

async function readOnce(
  file: string | undefined,
  options: ReportCommandOptions,
  output: Output,
  signal: AbortSignal,
): Promise<Read> {
  const { name, table } = await lookAtTable(file, options, lookingOf(signal, output, options));
  return { name, table, passes: [], isRechecked: true };
}

async function readPasses(options: ReportCommandOptions, output: Output, signal: AbortSignal): Promise<Read> {
  const live = await WatchedTable.open(options, signal);
  const text = ({ pass }: { pass: number }): string => `pass ${pass} of ${options.passes}`;
  const display = options.json === true ? undefined : lateDisplay(createLineDisplay(output.stderr, text));
  try {
    const passes: TablePass[] = [];
    while (passes.length < options.passes) {
      if (passes.length > 0) await sleep(options.intervalMs, signal);
      passes.push(await live.pass(signal));
      display?.update({ pass: passes.length });
    }
    return { name: live.name, table: live.table, passes, isRechecked: live.isRechecked };
  } finally {
    display?.stop();
    await live.close();
  }
}

async function writeFile(target: string, bytes: Uint8Array, signal: AbortSignal): Promise<void> {
  const file = await AtomicFile.create(target, signal, 'report');
  try {
    await file.write(bytes);
    await file.commit();
  } finally {
    await file.discard();
  }
}
