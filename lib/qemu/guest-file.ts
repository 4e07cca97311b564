import { HtabFormatError } from '../base/errors.js';
import { checkOptions, numbersOf, type OptionTable } from '../base/options.js';
import { digestTable } from '../hpt/digest.js';
import { MAX_STREAM_ORDER, MIN_ORDER } from '../hpt/geometry.js';
import type { HptTable } from '../hpt/table.js';
import { DebugfsText, isDebugfsText } from '../snapshot/debugfs-text.js';
import type { Snapshot } from '../snapshot/decoder.js';
import { readSnapshot } from '../snapshot/read.js';
import { SNAPSHOT_FRAMES, type SnapshotInfo } from '../snapshot/layout.js';
import { FlatFile } from '../snapshot/flat-file.js';
import { SourceHead, type ChunkSource } from './stream/chunk-source.js';
import { spoiled } from './stream/findings.js';
import { HTAB_SECTION, STREAM_MAGIC } from './stream/layout.js';
import { LIBVIRT_MAGIC_BYTES, isLibvirtSave } from './stream/libvirt-header.js';
import {
  QEMU_STREAM_OPTIONS,
  type QemuStream,
  type QemuStreamOptions,
  openChunks,
  readQemuStream,
} from './stream/read-qemu-stream.js';

/** A file that holds a guest's table: `memory` is the table as it lies there, 16 bytes an entry; `debugfs` KVM's text of it. */
export type GuestFile =
  | { readonly kind: 'snapshot'; readonly snapshot: Snapshot }
  | { readonly kind: 'memory' | 'debugfs'; readonly table: HptTable; readonly fileBytes: number }
  | { readonly kind: 'qemu'; readonly stream: QemuStream };

export interface TableFileOptions extends QemuStreamOptions {
  /** log2 of the table's bytes, 18..36: KVM's debugfs text does not tell it. By default found from where the entries are. */
  readonly order?: number | undefined;
}

export const TABLE_FILE_OPTIONS = {
  ...QEMU_STREAM_OPTIONS,
  order: {
    min: MIN_ORDER,
    max: MAX_STREAM_ORDER,
    unit: 'log2 of bytes',
    doc: "log2 of the table's bytes, which KVM's debugfs text does not tell; without it, found from where the entries are",
  },
} as const satisfies OptionTable<TableFileOptions>;

/**
 * Reads a file that holds a guest's table, whatever wrote it. Its first bytes tell whether it is a snapshot, what
 * `readQemuStream` reads, or the text of KVM's debugfs; any other is taken for a table's memory, and must look like one.
 *
 * @param source its path, or a stream of its bytes
 * @throws HtabFormatError for any other file; and as `readSnapshot` and `readQemuStream`
 */
export async function readGuestFile(
  source: string | AsyncIterable<Uint8Array>,
  options: TableFileOptions = {},
): Promise<GuestFile> {
  checkOptions(options, TABLE_FILE_OPTIONS);
  const { order } = numbersOf(TABLE_FILE_OPTIONS, options);
  const { signal, onProgress } = options;
  signal?.throwIfAborted();
  await using head = new SourceHead(await openChunks(source, signal));
  const magic = await head.take(LIBVIRT_MAGIC_BYTES);
  head.unread(magic);
  const name = typeof source === 'string' ? source : 'the stream';
  const refuse = (reason: string): HtabFormatError => refusal(name, reason);
  if (magic.length === 0) throw refuse("it is empty, as KVM's debugfs text of a radix guest is");
  const kind = kindOf(magic);
  // Of a file, these begin again: one can pass over memory only in a file.
  const bytes = typeof source === 'string' ? source : iterate(head);
  if (kind === 'snapshot') return { kind, snapshot: await readSnapshot(bytes, { signal, onProgress }) };
  if (kind === 'qemu') return { kind, stream: await readQemuStream(bytes, { signal, onProgress }) };
  const reader = kind === 'debugfs' ? new DebugfsText(name, order) : new FlatFile(head.size, refuse);
  return { kind, ...(await readPlain(head, reader, onProgress)) };
}

/**
 * The table in a file, as a snapshot of it: what `loadSnapshot` takes. The file may be a snapshot, what `readQemuStream` reads,
 * a table's memory (16 bytes an entry, big-endian), or the text that KVM shows in debugfs (`vm*` / `htab`). The last two do
 * not tell whether the guest stood still: `info.quiescent` is false.
 *
 * @param source its path, or a stream of its bytes
 * @throws HtabFormatError for a stream without a table that a guest could run on; for text that leaves the order open, with
 *   `option`; and as `readSnapshot` and `readQemuStream`
 *
 * @example
 * await loadSnapshot(await readTableFile('guest.mig'), vm);
 */
export async function readTableFile(
  source: string | AsyncIterable<Uint8Array>,
  options: TableFileOptions = {},
): Promise<Snapshot> {
  const file = await readGuestFile(source, options);
  if (file.kind === 'snapshot') return file.snapshot;
  if (file.kind === 'qemu') return snapshotOf(file.stream);
  return { table: file.table, info: infoOf(file.table, file.fileBytes) };
}

/**
 * The table of a file, for those who need no digest of it.
 *
 * @throws HtabFormatError as {@link wholeTable}
 */
export function tableOf(file: GuestFile): HptTable {
  if (file.kind === 'snapshot') return file.snapshot.table;
  return file.kind === 'qemu' ? wholeTable(file.stream) : file.table;
}

/** @throws HtabFormatError as {@link wholeTable} */
function snapshotOf(stream: QemuStream): Snapshot {
  const table = wholeTable(stream);
  const { validEntries, invalidEntries, bytes } = stream.records;
  return {
    table,
    info: {
      ...infoOf(table, stream.streamBytes),
      headerByteOrder: 'BE',
      passes: [{ validEntries, invalidEntries, bytes }],
      // QEMU sends the last part when the guest stands still.
      quiescent: true,
    },
  };
}

/**
 * The table of a stream.
 *
 * @throws HtabFormatError if there is none that a guest could run on
 */
export function wholeTable({ table, findings, records, streamBytes }: QemuStream): HptTable {
  const found = spoiled(findings);
  if (table === undefined || found !== undefined) {
    throw new HtabFormatError(
      `the stream has no table that a guest could run on: ${found?.message ?? 'none came'}`,
      { byteOffset: found?.byteOffset ?? streamBytes, recordIndex: records.records, section: HTAB_SECTION },
    );
  }
  return table;
}

function infoOf(table: HptTable, fileBytes: number): SnapshotInfo {
  return {
    order: table.order,
    headerByteOrder: 'LE',
    backend: 'image',
    host: null,
    passes: [],
    validEntries: table.validCount,
    digest: digestTable(table),
    // Neither memory nor text shows whether the guest stood still.
    quiescent: false,
    fileBytes,
  };
}

function kindOf(magic: Buffer): GuestFile['kind'] {
  if (magic.length >= 4 && magic.readUInt32BE() === STREAM_MAGIC) return 'qemu';
  if (isLibvirtSave(magic)) return 'qemu';
  if (magic.length >= 2 && magic.readUInt16BE() === SNAPSHOT_FRAMES.magic) return 'snapshot';
  return isDebugfsText(magic) ? 'debugfs' : 'memory';
}

function refusal(name: string, reason: string): HtabFormatError {
  return new HtabFormatError(
    `${name} is neither a snapshot of a table, nor a file of QEMU or libvirt, nor KVM's debugfs text, nor a table's memory: ${reason}`,
    { byteOffset: 0, recordIndex: 0, place: '' },
  );
}

/** Reads a file that has entries and nothing about them. */
async function readPlain(
  source: ChunkSource,
  reader: DebugfsText | FlatFile,
  onProgress: TableFileOptions['onProgress'],
): Promise<{ readonly table: HptTable; readonly fileBytes: number }> {
  let bytes = 0;
  for (let chunk = await source.next(); chunk !== undefined; chunk = await source.next()) {
    reader.push(chunk);
    bytes += chunk.length;
    onProgress?.({ bytes, validEntries: reader.validCount });
  }
  return { table: reader.finish(), fileBytes: bytes };
}

/** The chunks of a source that is closed elsewhere. */
async function* iterate(source: ChunkSource): AsyncGenerator<Uint8Array, void, undefined> {
  for (let chunk = await source.next(); chunk !== undefined; chunk = await source.next()) yield chunk;
}
