import { entryCount } from '../../hpt/geometry.js';
import { isVm } from '../../io/vm-or-handle.js';
import { loadSnapshot } from '../../snapshot/load.js';
import { readSnapshot } from '../../snapshot/read.js';
import type { SnapshotInfo } from '../../snapshot/layout.js';
import type { HtabHandle } from '../../vm/contract.js';
import type { EndpointOptions } from '../commands/endpoint-options.js';
import { openTarget, type TargetEndpoint } from '../endpoints.js';
import { EXIT_CODES } from '../exit-codes.js';
import { formatCount } from '../format.js';
import { jsonDocument } from '../json.js';
import { placeOf } from '../place.js';
import type { Output } from '../program.js';
import { UsageError } from '../usage-error.js';

/** What `kvm-htab load` takes. */
export interface LoadCommandOptions extends EndpointOptions {
  readonly readBack?: boolean;
  readonly allowChanging?: boolean;
  readonly timeoutMs: number;
  readonly json?: boolean;
  readonly quiet?: boolean;
}

/**
 * Makes a snapshot the table of a target.
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
  say(`verifying ${file}`);
  const snapshot = await readSnapshot(file, { signal });
  // Not earlier: a VMM that is asked for a table makes one.
  const target = await openTarget(options, options.timeoutMs);
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
    output.stdout.write(jsonDocument({ file, target: target.name, ...info, verified: readBack }));
  } else if (!quiet) {
    output.stdout.write(describe(file, target, info, readBack));
  }
  return EXIT_CODES.ok;
}

function readBackOf({ table }: TargetEndpoint): Promise<HtabHandle> | true {
  return isVm(table) ? true : table.openRead!();
}

function describe(file: string, { name }: TargetEndpoint, info: SnapshotInfo, readBack: boolean): string {
  const { order, validEntries, digest } = info;
  return `Loaded ${file} into ${name}: order ${order}, ${formatCount(entryCount(order))} entries, ${formatCount(validEntries)} of them valid.

digest  ${digest}
${readBack ? 'verified: the table was read back, and every entry is as in the file' : 'not read back; --read-back compares the table with the file'}
`;
}
