import { digestTable } from '../../hpt/digest.js';
import type { HptTable } from '../../hpt/table.js';
import { type GuestFile, readGuestFile } from '../../qemu/guest-file.js';
import { checkEntries } from '../../qemu/stream/check-entries.js';
import { Findings, type QemuFinding } from '../../qemu/stream/findings.js';
import type { QemuStream } from '../../qemu/stream/read-qemu-stream.js';
import { EXIT_CODES } from '../errors/exit-codes.js';
import type { Output } from '../output.js';
import { formatBytes, formatCount } from '../report/format.js';
import { jsonDocument } from '../report/json.js';
import { createStreamDisplay } from '../report/stream-progress.js';
import { inputName, inputOf } from '../table/standard-stream.js';

/** What `kvm-htab check` takes. */
export interface CheckCommandOptions {
  readonly order?: number;
  readonly json?: boolean;
  readonly quiet?: boolean;
}

/**
 * Checks a file that holds a guest's table.
 *
 * @returns the exit code: 0 if nothing is odd about it
 */
export async function check(
  file: string,
  { order, json = false, quiet = false }: CheckCommandOptions,
  output: Output,
  signal: AbortSignal,
): Promise<number> {
  const display = json || quiet ? undefined : createStreamDisplay(output.stderr);
  const reading = readGuestFile(inputOf(file), { order, signal, onProgress: display?.update });
  const found = await reading.finally(() => display?.stop());
  const findings = findingsOf(found);
  if (json) output.stdout.write(jsonDocument({ file, ...fieldsOf(found), findings }));
  else if (!quiet) output.stdout.write(`${textOf(inputName(file), found, findings).join('\n')}\n`);
  const isMixed = found.kind === 'snapshot' && !found.snapshot.info.quiescent;
  return isMixed || findings.length > 0 ? EXIT_CODES.failed : EXIT_CODES.ok;
}

/** What is told of every table. */
interface TableFields {
  readonly order: number;
  readonly validEntries: number;
  readonly digest: string;
}

function findingsOf(found: GuestFile): readonly QemuFinding[] {
  if (found.kind === 'qemu') return found.stream.findings;
  const findings = new Findings();
  checkEntries(found.kind === 'snapshot' ? found.snapshot.table : found.table, findings);
  return findings.list;
}

function fieldsOf(found: GuestFile): object {
  const { kind } = found;
  if (kind === 'qemu') {
    const { table, ...stream } = found.stream;
    return { kind, ...(table && tableFields(table)), ...stream };
  }
  // Neither memory nor text shows whether the guest stood still.
  if (kind !== 'snapshot') {
    return { kind, ...tableFields(found.table), quiescent: false, fileBytes: found.fileBytes };
  }
  const { order, validEntries, digest, quiescent, fileBytes } = found.snapshot.info;
  return { kind, order, validEntries, digest, quiescent, fileBytes };
}

function tableFields(table: HptTable): TableFields {
  return { order: table.order, validEntries: table.validCount, digest: digestTable(table) };
}

function textOf(name: string, found: GuestFile, findings: readonly QemuFinding[]): string[] {
  if (found.kind === 'qemu') return describeStream(name, found.stream);
  if (found.kind === 'snapshot') {
    const { info } = found.snapshot;
    const mixed = 'the table changed while it was saved: look at it, do not load it';
    const odd = info.quiescent ? findingLines(findings) : [mixed, ...findings.map(findingLine)];
    return [`${name}: a snapshot of a table`, ...tableLines(info), ...odd];
  }
  return [
    `${name}: ${found.kind === 'debugfs' ? "KVM's debugfs text of a table" : "a table's memory"}`,
    ...tableLines(tableFields(found.table)),
    'moment   not known: the guest may have run meanwhile',
    ...findingLines(findings),
  ];
}

function describeStream(name: string, stream: QemuStream): string[] {
  const { machine, libvirt, table, records, ram, sections, findings, streamBytes, trailingBytes } = stream;
  const devices = sections.filter(({ iterable }) => !iterable).length;
  const before =
    libvirt === undefined
      ? 'a migration stream of QEMU'
      : `a save file of libvirt (${libvirt.domain ?? 'no name'}, ${libvirt.compression})`;
  return [
    `${name}: ${before}, machine ${machine === '' ? 'not known' : machine}, ${formatBytes(streamBytes)}`,
    ...(table === undefined ? [] : tableLines(tableFields(table))),
    `records  ${formatCount(records.records)} of ${formatBytes(records.bytes)}; at most ${formatCount(records.longestRun)} valid entries in one`,
    `devices  ${devices}, and ${formatCount(ram?.pages ?? 0)} pages of memory, were passed over`,
    ...(trailingBytes === 0 ? [] : [`after it ${formatBytes(trailingBytes)} that were not read`]),
    ...findingLines(findings),
  ];
}

function tableLines({ order, validEntries, digest }: TableFields): string[] {
  const entries = formatCount(2 ** (order - 4));
  return [
    `table    order ${order}, ${entries} entries, ${formatCount(validEntries)} of them valid`,
    `digest   ${digest}`,
    ...(validEntries === 0
      ? ['EMPTY: a guest that was running has some entries: is it the right file?']
      : []),
  ];
}

function findingLines(findings: readonly QemuFinding[]): string[] {
  return findings.length === 0 ? ['nothing odd'] : findings.map(findingLine);
}

function findingLine({ kind, message, count, byteOffset, ptex }: QemuFinding): string {
  const place = [
    count === 1 ? [] : `${formatCount(count)} times, first`,
    byteOffset === undefined ? [] : `at byte ${byteOffset}`,
    ptex === undefined ? [] : `ptex ${ptex}`,
  ].flat();
  return `${kind}: ${message}${place.length === 0 ? '' : ` (${place.join(' ')})`}`;
}
