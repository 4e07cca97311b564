import path from 'node:path';
import { digestTable } from '../../hpt/digest.js';
import { entryBatches } from '../../hpt/entry-batches.js';
import { kernelPagesOf } from '../../inspect/kernel-pages.js';
import type { KernelPages } from '../../inspect/linux-regions.js';
import { AtomicFile } from '../../snapshot/atomic-file.js';
import { StreamSink } from '../../snapshot/stream.js';
import { EXIT_CODES } from '../errors/exit-codes.js';
import { UsageError } from '../errors/usage-error.js';
import type { Output } from '../output.js';
import { formatCount } from '../report/format.js';
import { jsonDocument } from '../report/json.js';
import { lateDisplay } from '../report/late-display.js';
import { createLineDisplay } from '../report/progress.js';
import { lookAtTable, type LookedAt } from '../table/look.js';
import { type TableOptions, hasPlace } from '../table/place.js';
import { STANDARD_STREAM, outputOf, resultOutput } from '../table/standard-stream.js';
import { decoded, RAW, type Layout } from './columns.js';
import { CsvRows } from './csv.js';
import { FORMATS, type ExportCommandOptions, type Format } from './export-options.js';
import type { RowWriter, Sink } from './row-writer.js';

/**
 * Writes the valid entries of a table as rows.
 *
 * @param paths the file to read, unless the options give a guest, and the one to write
 * @returns the exit code: 0 once the file is on the disk
 */
export async function exportTable(
  paths: readonly string[],
  options: ExportCommandOptions,
  output: Output,
  signal: AbortSignal,
): Promise<number> {
  const { json = false, quiet = false } = options;
  const { file, target } = placesOf(paths, options);
  const format = formatOf(target, options.format);
  const to = format === 'csv' && target === STANDARD_STREAM ? output.stdout : outputOf(target, output);
  const stderr = json || quiet ? undefined : output.stderr;
  const source = await lookAtTable(file, options, { signal, stderr });
  const { name, table } = source;
  const kernelPages = kernelPagesOf(table);
  const digest = source.digest ?? digestTable(table);
  const layout = options.decoded === true ? decoded(name, table.order, kernelPages) : RAW;
  const sink =
    typeof to === 'string'
      ? await AtomicFile.create(to, signal, 'export')
      : new StreamSink(to, signal, 'export');
  const display = stderr && lateDisplay(createLineDisplay(stderr, progressText));
  try {
    const rows = await writerFor(format, sink, layout, metadataOf(source, digest, kernelPages));
    let written = 0;
    for (const batch of entryBatches(table, layout.rows)) {
      signal.throwIfAborted();
      await rows.write(layout.valuesOf(batch));
      display?.update({ written: (written += batch.ptex.length), entries: table.validCount });
    }
    await rows.finish();
    await sink.commit();
  } finally {
    display?.stop();
    await sink.discard();
  }
  report(
    { source: name, output: target, format, order: table.order, validEntries: table.validCount, digest },
    options,
    output,
  );
  return EXIT_CODES.ok;
}

/** @throws UsageError unless there is one file to write, and one to read or a guest */
function placesOf(
  paths: readonly string[],
  options: TableOptions,
): { file: string | undefined; target: string } {
  const isLive = hasPlace(options);
  const [file, target] = isLive ? [undefined, ...paths] : paths;
  if (target !== undefined && paths.length === (isLive ? 1 : 2)) return { file, target };
  throw new UsageError(
    isLive
      ? `the options give a guest: name the file to write alone, not ${paths.length} files`
      : 'name the file to read and the file to write; options that give a guest stand for the first',
  );
}

/** @throws UsageError where a file's name tells no format */
function formatOf(target: string, given: Format | undefined): Format {
  if (given !== undefined) return given;
  if (target === STANDARD_STREAM) return 'csv';
  const ending = path.extname(target).slice(1).toLowerCase();
  const format = FORMATS.find((each) => each === ending);
  if (format !== undefined) return format;
  throw new UsageError(`${target} does not end in .parquet or .csv: use such a name, or --format`);
}

async function writerFor(
  format: Format,
  sink: Sink,
  { columns }: Layout,
  metadata: ReadonlyMap<string, string>,
): Promise<RowWriter> {
  if (format === 'csv') return new CsvRows(sink, columns);
  // Parquet's writer is loaded for those who write it.
  const { ParquetRows } = await import('./parquet.js');
  return new ParquetRows(sink, columns, metadata);
}

/** What a file says of its table. */
function metadataOf(
  { name, host, table }: LookedAt,
  digest: string,
  kernelPages: KernelPages | undefined,
): ReadonlyMap<string, string> {
  const fields = {
    version: '1',
    source: name,
    host,
    order: String(table.order),
    valid_entries: String(table.validCount),
    digest,
    kernel_pages: kernelPages,
  };
  return new Map(
    Object.entries(fields).flatMap(([key, value]) =>
      value === undefined ? [] : [[`kvm-htab.${key}`, value]],
    ),
  );
}

function progressText({ written, entries }: { readonly written: number; readonly entries: number }): string {
  return `exported ${formatCount(written)} of ${formatCount(entries)} entries`;
}

interface ExportReport {
  readonly source: string;
  readonly output: string;
  readonly format: Format;
  readonly order: number;
  readonly validEntries: number;
  readonly digest: string;
}

function report(
  done: ExportReport,
  { json = false, quiet = false }: ExportCommandOptions,
  output: Output,
): void {
  const to = resultOutput(done.output, output);
  if (json) to.write(jsonDocument(done));
  else if (!quiet) {
    const { source, output: target, order, validEntries, digest } = done;
    to.write(
      `Exported ${formatCount(validEntries)} entries of ${source}, order ${order}, to ${target}.\n\ndigest  ${digest}\n`,
    );
  }
}
