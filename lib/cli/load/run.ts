import { entryCount } from '../../hpt/geometry.js';
import { isVm } from '../../io/vm-or-handle.js';
import { loadSnapshot } from '../../snapshot/load.js';
import { readTableFile } from '../../qemu/guest-file.js';
import type { SnapshotInfo } from '../../snapshot/layout.js';
import type { HtabHandle } from '../../vm/contract.js';
import { openForWriting, type OpenForWriting } from '../table/open.js';
import { EXIT_CODES } from '../errors/exit-codes.js';
import { formatCount } from '../report/format.js';
import { jsonDocument, reportFields } from '../report/json.js';
import { placeOf, type TableOptions } from '../table/place.js';
import { UsageError } from '../errors/usage-error.js';
import type { Output } from '../output.js';
import { inputName, inputOf } from '../table/standard-stream.js';

/** What `kvm-htab load` takes. */
export interface LoadCommandOptions extends TableOptions {
  readonly readBack?: boolean;
  readonly allowChanging?: boolean;
  readonly timeoutMs: number;
  readonly json?: boolean;
  readonly quiet?: boolean;
}

/**
 * Loads the table of a file into that of a target.
 *
 * @returns the exit code: 0 once the target has all of it
 */
export async function load(
  file: string,
  options: LoadCommandOptions,
  output: Output,
  signal: AbortSignal,
): Promise<number> {
  const { readBack = false, allowChanging = false, json = false, quiet = false } = options;
  const say = (text: string): void => {
    if (!json && !quiet) output.stderr.write(`${text}\n`);
  };
  const { kind } = placeOf(options);
  if (readBack && kind === 'descriptor') {
    throw new UsageError('--read-back needs the socket of a VMM, which can open the table for reading too');
  }
  const name = inputName(file);
  say(`verifying ${name}`);
  const snapshot = await readTableFile(inputOf(file), { order: options.order, signal });
  // Not earlier: a VMM that is asked for a table allocates one.
  const target = await openForWriting(options, options.timeoutMs);
  let shown = '';
  try {
    await loadSnapshot(snapshot, isVm(target.table) ? target.table : target.table.handle, {
      order: target.order,
      host: target.host,
      readBack: readBack && (await readBackOf(target)),
      allowChanging,
      signal,
      onProgress: ({ step, written }) => {
        const line =
          step === 'write' ? `writing: ${Math.floor(written * 10) * 10}%` : 'reading the table back';
        if (line !== shown) say((shown = line));
      },
    });
  } finally {
    await target.close();
  }
  const { info } = snapshot;
  if (json) {
    output.stdout.write(
      jsonDocument({ file, target: target.name, ...reportFields(info), verified: readBack }),
    );
  } else if (!quiet) {
    output.stdout.write(describe(name, target, info, readBack));
  }
  return EXIT_CODES.ok;
}

function readBackOf({ table }: OpenForWriting): Promise<HtabHandle> | true {
  return isVm(table) ? true : table.openRead!();
}

const EMPTY =
  'EMPTY: the table has no valid entry. A guest that was running has some: is it the right file?\n';

function describe(file: string, { name }: OpenForWriting, info: SnapshotInfo, readBack: boolean): string {
  const { order, validEntries, digest } = info;
  return `Loaded ${file} into ${name}: order ${order}, ${formatCount(entryCount(order))} entries, ${formatCount(validEntries)} of them valid.

digest  ${digest}
${validEntries === 0 ? EMPTY : ''}${readBack ? 'verified: the table was read back, and every entry equals the file' : 'not read back; --read-back compares the table with the file'}
`;
}
