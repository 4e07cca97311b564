import { entryCount } from '../../hpt/geometry.js';
import { wholeTable } from '../../qemu/guest-file.js';
import { readQemuStream } from '../../qemu/stream/read-qemu-stream.js';
import { writeTable } from '../../snapshot/write-table.js';
import { EXIT_CODES } from '../errors/exit-codes.js';
import type { Output } from '../output.js';
import { formatBytes, formatCount } from '../report/format.js';
import { jsonDocument } from '../report/json.js';
import { createStreamDisplay } from '../report/stream-progress.js';
import { inputName, inputOf, outputOf, resultOutput } from '../table/standard-stream.js';

/** What `kvm-htab extract` takes. */
export interface ExtractCommandOptions {
  readonly output: string;
  readonly json?: boolean;
  readonly quiet?: boolean;
}

/**
 * Saves the table of a stream as a snapshot.
 *
 * @returns the exit code: 0 once the snapshot is on the disk
 */
export async function extract(
  file: string,
  options: ExtractCommandOptions,
  output: Output,
  signal: AbortSignal,
): Promise<number> {
  const { output: target, json = false, quiet = false } = options;
  const sink = outputOf(target, output);
  const display = json || quiet ? undefined : createStreamDisplay(output.stderr);
  const stream = await readQemuStream(inputOf(file), { signal, onProgress: display?.update }).finally(() =>
    display?.stop(),
  );
  const table = wholeTable(stream);
  const { order, validEntries, digest, fileBytes } = await writeTable(table, sink, signal);
  const { machine, findings } = stream;
  const result = resultOutput(target, output);
  if (json) {
    const report = { file, output: target, machine, order, validEntries, digest, fileBytes, findings };
    result.write(jsonDocument(report));
  } else if (!quiet) {
    result.write(`Extracted the table of ${inputName(file)} to ${target}, ${formatBytes(fileBytes)}: order ${order}, \
${formatCount(entryCount(order))} entries, ${formatCount(validEntries)} of them valid.

digest  ${digest}
${findings.map(({ kind, message }) => `odd: ${kind}: ${message}\n`).join('')}`);
  }
  return EXIT_CODES.ok;
}
