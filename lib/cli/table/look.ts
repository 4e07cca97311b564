import type { HptTable } from '../../hpt/table.js';
import { readGuestFile, tableOf } from '../../qemu/guest-file.js';
import type { HostModel } from '../../vm/host.js';
import { UsageError } from '../errors/usage-error.js';
import type { Output } from '../output.js';
import { formatCount } from '../report/format.js';
import { lateDisplay } from '../report/late-display.js';
import { createLineDisplay } from '../report/progress.js';
import { createStreamDisplay } from '../report/stream-progress.js';
import { WatchedTable, type ReadProgress } from './watched-table.js';
import { hasPlace, placeOf, type TableOptions } from './place.js';
import { inputName, inputOf } from './standard-stream.js';

/** A table to look at, as it was when it was read. */
export interface LookedAt {
  /** For messages: a file's name, or `an emulated VM`. */
  readonly name: string;
  readonly table: HptTable;
  /** Processor of the host that it was read on, where it is known. */
  readonly host: HostModel | undefined;
  /** What `digestTable` gives, where the file has been checked against it. */
  readonly digest?: string;
}

/** How a table is read. */
export interface Looking {
  readonly signal: AbortSignal;
  /** Where progress is shown that takes longer than a second; undefined: nowhere. */
  readonly stderr: Output['stderr'] | undefined;
}

/** What a command that looks at a table prints to: for a program, no progress. */
export function lookingOf(
  signal: AbortSignal,
  { stderr }: Output,
  { json = false }: { json?: boolean },
): Looking {
  return { signal, stderr: json ? undefined : stderr };
}

/**
 * Reads the table of a file or of a guest.
 *
 * @param file any that `readTableFile` takes, `-` for standard input; undefined where the options give a guest
 * @throws UsageError unless exactly one of them is given
 * @throws HtabError as `readTableFile` and `openSource`
 */
export async function lookAtTable(
  file: string | undefined,
  options: TableOptions,
  { signal, stderr }: Looking,
): Promise<LookedAt> {
  if (file !== undefined) {
    if (hasPlace(options) || options.qmp !== undefined) {
      throw new UsageError('give a file or a guest, not both');
    }
    return await lookAtFile(file, options, { signal, stderr });
  }
  if (!hasPlace(options)) {
    if (options.qmp !== undefined) placeOf(options);
    throw new UsageError(
      'no table given: name a file, or use --attach, --htab-fd, --htab-socket, --pid with --pid-fd, or --emulated',
    );
  }
  const live = await WatchedTable.open(options, signal);
  const display = stderr && lateDisplay(createLineDisplay(stderr, progressText));
  try {
    await live.pass(signal, display?.update);
    return { name: live.name, host: live.host, table: live.table };
  } finally {
    display?.stop();
    await live.close();
  }
}

function progressText({ scanned, entries }: ReadProgress): string {
  return `read ${Math.floor(scanned * 100)} % of the table, ${formatCount(entries)} valid entries`;
}

/** Reads the table of a file, as {@link lookAtTable} does. */
export async function lookAtFile(
  file: string,
  { order }: Pick<TableOptions, 'order'>,
  { signal, stderr }: Looking,
): Promise<LookedAt> {
  const display = stderr && lateDisplay(createStreamDisplay(stderr));
  try {
    const onProgress = display?.update;
    const read = await readGuestFile(inputOf(file), { order, signal, onProgress });
    const looked = { name: inputName(file), table: tableOf(read) };
    if (read.kind !== 'snapshot') return { ...looked, host: undefined };
    const { host, digest } = read.snapshot.info;
    return { ...looked, host: host ?? undefined, digest };
  } finally {
    display?.stop();
  }
}
