import { HtabFormatError } from '../../base/errors.js';
import { foreignText } from '../../base/foreign-text.js';
import type { SourceHead } from './chunk-source.js';

export const LIBVIRT_MAGIC_BYTES = 16;
const MAGIC = 'LibvirtQemudSave';
const MAGIC_OF_UNFINISHED = 'LibvirtQemudPart';
const VERSION = 2;
/** Magic, five words, and fourteen that are not used. */
const HEADER_BYTES = LIBVIRT_MAGIC_BYTES + 19 * 4;
const WORD = { version: 0, length: 1, wasRunning: 2, compression: 3, cookieOffset: 4 } as const;
/** A domain's XML has about 10 KiB. */
const MAX_DATA_BYTES = 1 << 24;

/** How libvirt compressed a save file. */
export type LibvirtCompression = 'raw' | 'gzip' | 'bzip2' | 'xz' | 'lzop' | 'zstd' | 'sparse';

/** By their numbers in the file. */
const COMPRESSIONS: readonly LibvirtCompression[] = ['raw', 'gzip', 'bzip2', 'xz', 'lzop', 'zstd', 'sparse'];

/** What a save file of libvirt's has before the stream. */
export interface LibvirtSave {
  /** Name of the domain; undefined if its XML does not have one. */
  readonly domain: string | undefined;
  /** The guest ran when it was saved, and will when it is restored. */
  readonly wasRunning: boolean;
  readonly compression: LibvirtCompression;
  /** Header, XML and cookie: the stream begins after them. */
  readonly headerBytes: number;
}

/** The header of a save file, read, and with its XML and cookie as they stand there. */
export interface LibvirtHead {
  readonly save: LibvirtSave;
  /** The same for a file with the stream as QEMU wrote it, not compressed. */
  readonly uncompressed: Buffer;
}

/** Whether a file begins like one of libvirt's. */
export function isLibvirtSave(magic: Buffer): boolean {
  const text = magic.toString('latin1', 0, LIBVIRT_MAGIC_BYTES);
  return text === MAGIC || text === MAGIC_OF_UNFINISHED;
}

/**
 * Reads what a save file has before the stream.
 *
 * @throws HtabFormatError for a file that libvirt did not finish, or would not read
 */
export async function readLibvirtHead(source: SourceHead): Promise<LibvirtHead> {
  const header = await source.take(HEADER_BYTES);
  if (header.length < HEADER_BYTES) throw refusal('it ends inside its header', header.length);
  if (header.toString('latin1', 0, LIBVIRT_MAGIC_BYTES) === MAGIC_OF_UNFINISHED) {
    throw refusal('libvirt did not finish it: the guest was not saved', 0);
  }
  // The host's byte order: the version is small, and tells which.
  const littleEndian = header.readUInt32LE(LIBVIRT_MAGIC_BYTES) < 2 ** 16;
  const at = (word: keyof typeof WORD): number => LIBVIRT_MAGIC_BYTES + WORD[word] * 4;
  const read = (word: keyof typeof WORD): number =>
    littleEndian ? header.readUInt32LE(at(word)) : header.readUInt32BE(at(word));
  if (read('version') !== VERSION) {
    throw refusal(`it has version ${read('version')}; only ${VERSION} is supported`, at('version'));
  }
  const length = read('length');
  if (length > MAX_DATA_BYTES) {
    throw refusal(`its XML has ${length} bytes, more than ${MAX_DATA_BYTES}`, at('length'));
  }
  if (read('cookieOffset') > length) {
    throw refusal(
      `its cookie begins at ${read('cookieOffset')}, after all ${length} bytes`,
      at('cookieOffset'),
    );
  }
  const compression = COMPRESSIONS[read('compression')];
  if (compression === undefined) {
    throw refusal(`it is compressed by method ${read('compression')}, which is not known`, at('compression'));
  }
  const data = await source.take(length);
  if (data.length < length) throw refusal('it ends inside its XML', HEADER_BYTES + data.length);
  const [, domain] = /<name>([^<]*)<\/name>/.exec(data.toString('utf8')) ?? [];
  const uncompressed = Buffer.concat([header, data]);
  uncompressed.writeUInt32LE(0, at('compression'));
  return {
    save: {
      domain: domain === undefined ? undefined : foreignText(domain),
      wasRunning: read('wasRunning') !== 0,
      compression,
      headerBytes: uncompressed.length,
    },
    uncompressed,
  };
}

function refusal(reason: string, byteOffset: number): HtabFormatError {
  const section = 'libvirt header';
  return new HtabFormatError(`the save file of libvirt is not usable: ${reason}`, {
    byteOffset,
    recordIndex: 0,
    section,
  });
}
