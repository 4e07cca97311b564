import { readTableFile } from '../../qemu/guest-file.js';
import { checkMoment } from '../../snapshot/load.js';
import { rewriteQemuStream } from '../../qemu/stream/rewrite.js';
import { EXIT_CODES } from '../errors/exit-codes.js';
import type { Output } from '../output.js';
import { formatBytes, formatCount } from '../report/format.js';
import { jsonDocument } from '../report/json.js';
import { createStreamDisplay } from '../report/stream-progress.js';
import { inputName, inputOf, outputOf, resultOutput } from '../table/standard-stream.js';

/** What `kvm-htab rewrite` takes. */
export interface RewriteCommandOptions {
  readonly table: string;
  readonly output: string;
  readonly allowChanging?: boolean;
  readonly allowEmpty?: boolean;
  readonly json?: boolean;
  readonly quiet?: boolean;
}

/**
 * Writes a stream again with another table.
 *
 * @returns the exit code: 0 once the new file is on the disk
 */
export async function rewrite(
  file: string,
  options: RewriteCommandOptions,
  output: Output,
  signal: AbortSignal,
): Promise<number> {
  const {
    table: tableFile,
    output: target,
    allowChanging,
    allowEmpty,
    json = false,
    quiet = false,
  } = options;
  const sink = outputOf(target, output);
  const { table, info } = await readTableFile(tableFile, { signal });
  checkMoment(info, allowChanging);
  const display = json || quiet ? undefined : createStreamDisplay(output.stderr);
  const report = await rewriteQemuStream(inputOf(file), table, sink, {
    ...{ signal, allowEmpty },
    onProgress: display?.update,
  }).finally(() => display?.stop());
  const { digest } = info;
  const result = resultOutput(target, output);
  if (json) {
    result.write(jsonDocument({ file, table: tableFile, output: target, ...report, digest }));
  } else if (!quiet) {
    const { order, validEntries, fileBytes } = report;
    result.write(`Wrote ${inputName(file)} with the table of ${tableFile} to ${target}, ${formatBytes(fileBytes)}: order ${order}, \
${formatCount(validEntries)} valid entries.

digest  ${digest}
`);
  }
  return EXIT_CODES.ok;
}
