import { checkPath, hasMethod } from '../../base/arguments.js';
import { checkOptions, type OptionTable } from '../../base/options.js';
import type { HptTable } from '../../hpt/table.js';
import { checkEntries } from './check-entries.js';
import { type ChunkSource, SourceHead, chunksOf, openFile } from './chunk-source.js';
import { decompress } from './decompress.js';
import { type QemuFinding, spoiled } from './findings.js';
import type { HtabCounts } from './htab-section.js';
import type { QemuRam, QemuSection } from './layout.js';
import {
  LIBVIRT_MAGIC_BYTES,
  type LibvirtHead,
  type LibvirtSave,
  isLibvirtSave,
  readLibvirtHead,
} from './libvirt-header.js';
import { type PartEvents, QemuStreamParser } from './parser.js';

/** How far reading has come. */
export interface QemuStreamProgress {
  /** Bytes of the stream, as QEMU wrote it. */
  readonly bytes: number;
  /** Valid entries of the table so far. */
  readonly validEntries: number;
}

export interface QemuStreamOptions {
  /** Ends it with its reason. */
  readonly signal?: AbortSignal | undefined;
  /** Called after every chunk. */
  readonly onProgress?: ((progress: QemuStreamProgress) => void) | undefined;
}

export const QEMU_STREAM_OPTIONS = {
  signal: { doc: 'ends it with its reason' },
  onProgress: { doc: 'called after every chunk' },
} as const satisfies OptionTable<QemuStreamOptions>;

/** A migration stream of QEMU's, as it was read. */
export interface QemuStream {
  /** Machine type, as `pseries-10.0`; empty in streams of machines older than QEMU 2.4. */
  readonly machine: string;
  /** Migration capabilities that change the format: `x-ignore-shared`, `mapped-ram`. */
  readonly capabilities: readonly string[];
  /** Commands from source to destination, as `ping`. */
  readonly commands: readonly string[];
  /** In the order in which they began. */
  readonly sections: readonly QemuSection[];
  /** The guest's memory; undefined if the stream has none. */
  readonly ram: QemuRam | undefined;
  /** The table that its sections add up to; undefined for a guest without one. */
  readonly table: HptTable | undefined;
  /** Records that make it up. */
  readonly records: HtabCounts;
  /** What is odd about it, one of each kind; empty for a stream that is right. */
  readonly findings: readonly QemuFinding[];
  /** The table is whole: a guest can run on it. */
  readonly sound: boolean;
  /** Bytes of the stream. */
  readonly streamBytes: number;
  /** Bytes after it. */
  readonly trailingBytes: number;
  /** What libvirt wrote before it; undefined for a stream of QEMU alone. */
  readonly libvirt: LibvirtSave | undefined;
}

/**
 * Reads a migration stream of QEMU, a save file of libvirt (raw, or compressed by gzip, and where their programs are there
 * by bzip2, xz, lzop and zstd), or a mapped-ram file, and takes the page table out of it. Memory and devices are passed
 * over.
 *
 * Memory: the table, which is never more than 2^order bytes and some, 16 MiB for libvirt's header and the description of
 * devices each, and two chunks.
 *
 * @param source its path; or a stream of its bytes, which is read to its end
 * @throws HtabFormatError where it cannot be read on, with `section` and `byteOffset`; offsets count from the start of QEMU's
 *   stream, after libvirt's header, as it was before it was compressed
 * @throws HtabUnavailableError `unsupported` if the program that could decompress it is not there
 * @throws HtabSystemError for a file that cannot be read
 * @throws the signal's reason
 *
 * @example
 * const { machine, table, findings } = await readQemuStream('guest.mig');
 */
export async function readQemuStream(
  source: string | AsyncIterable<Uint8Array>,
  options: QemuStreamOptions = {},
): Promise<QemuStream> {
  checkOptions(options, QEMU_STREAM_OPTIONS);
  await using opened = await openStream(source, options.signal);
  const parser = await parse(opened.chunks, options);
  return describeStream(parser, opened.libvirt?.save);
}

/** A stream that is about to be read. */
export interface OpenedStream extends AsyncDisposable {
  readonly chunks: ChunkSource;
  readonly libvirt: LibvirtHead | undefined;
}

/** Opens a stream and reads what libvirt has put before it. */
export async function openStream(
  source: string | AsyncIterable<Uint8Array>,
  signal: AbortSignal | undefined,
): Promise<OpenedStream> {
  signal?.throwIfAborted();
  const head = new SourceHead(await openChunks(source, signal));
  try {
    const magic = await head.take(LIBVIRT_MAGIC_BYTES);
    head.unread(magic);
    const libvirt = isLibvirtSave(magic) ? await readLibvirtHead(head) : undefined;
    const chunks = libvirt === undefined ? head : decompress(head, libvirt.save.compression, signal);
    return { chunks, libvirt, [Symbol.asyncDispose]: () => chunks[Symbol.asyncDispose]() };
  } catch (error) {
    await head[Symbol.asyncDispose]();
    throw error;
  }
}

/** Opens a file, or takes a stream. */
export async function openChunks(
  source: string | AsyncIterable<Uint8Array>,
  signal: AbortSignal | undefined,
): Promise<ChunkSource> {
  if (hasMethod(source, Symbol.asyncIterator)) return chunksOf(source as AsyncIterable<Uint8Array>, signal);
  checkPath('source', source);
  return openFile(source as string, signal);
}

/** Reads a stream to its end. */
export async function parse(
  chunks: ChunkSource,
  { onProgress }: Pick<QemuStreamOptions, 'onProgress'>,
  events?: PartEvents,
): Promise<QemuStreamParser> {
  const parser = new QemuStreamParser(events);
  for (let chunk = await chunks.next(); chunk !== undefined; chunk = await chunks.next()) {
    parser.push(chunk);
    if (parser.owed > 0) parser.passed(chunks.skip(parser.owed));
    onProgress?.({ bytes: parser.offset, validEntries: parser.table?.validCount ?? 0 });
  }
  parser.finish();
  return parser;
}

/** What has been read of a stream. */
export function describeStream(parser: QemuStreamParser, libvirt: LibvirtSave | undefined): QemuStream {
  const { configuration, findings, table } = parser;
  if (table !== undefined) checkEntries(table, findings);
  return {
    machine: configuration.machine,
    capabilities: configuration.capabilities,
    commands: [...parser.commands],
    sections: parser.sections,
    ram: parser.ram,
    table,
    records: parser.htabCounts,
    findings: findings.list,
    sound: spoiled(findings.list) === undefined,
    streamBytes: parser.offset,
    trailingBytes: parser.trailingBytes,
    libvirt,
  };
}
