import type { OptionTable } from '../base/options.js';
import { MAX_STREAM_ORDER, MIN_ORDER } from '../hpt/geometry.js';
import type { OpenHtabOptions } from '../vm/contract.js';

/** How an `HptReader` reads. */
export interface HptReaderOptions {
  /**
   * log2 of the table's bytes, 18..36, where it is known. Without it, when a pass ends just at the end of a buffer, only the
   * next read shows it; that read's chunk is kept for the next pass.
   */
  readonly order?: number | undefined;
  /** Bytes one read may fill, 25..2^30; default 1 MiB. */
  readonly bufferBytes?: number | undefined;
  /** Reuse a few buffers in turn. False: the caller may keep every chunk. Default true. */
  readonly recycle?: boolean | undefined;
}

/** How `HptReader.open` opens the descriptor. */
export interface OpenReaderOptions extends HptReaderOptions, Omit<OpenHtabOptions, 'access'> {
  /**
   * Allow another reader on this VM. Readers take changes away from each other (kernel-abi.md 2.2, trap 8): each
   * change is reported to one of them, and read-ahead can hold an older state back until after another's newer one.
   */
  readonly shared?: boolean;
}

export const READER_OPTIONS = {
  order: {
    min: MIN_ORDER,
    max: MAX_STREAM_ORDER,
    unit: 'log2 of bytes',
    doc: "log2 of the table's bytes, where it is known",
  },
  bufferBytes: {
    // Into 24 bytes and less the kernel reads nothing, and that looks like a quiet table (kernel-abi.md 2.4).
    min: 25,
    max: 1 << 30,
    // Larger buffers gain little and fall out of the caches.
    default: 1 << 20,
    unit: 'bytes',
    doc: 'most bytes of one read',
  },
  recycle: { default: true, doc: 'reuse a few buffers in turn; false: the caller may keep every chunk' },
} as const satisfies OptionTable<HptReaderOptions>;

export const OPEN_READER_OPTIONS = {
  ...READER_OPTIONS,
  shared: { default: false, doc: 'allow another reader on this VM: each change is reported to one of them' },
  boltedOnly: { default: false, doc: 'report entries that are not bolted as invalid' },
  startIndex: {
    ...{ min: 0, max: Number.MAX_SAFE_INTEGER, default: 0, unit: 'entries' },
    doc: 'ptex at which the first pass begins; it covers the table from there to its end',
  },
  signal: { doc: 'ends the opening with its reason; that of a stream destroys it at any time' },
} as const satisfies OptionTable<OpenReaderOptions>;
