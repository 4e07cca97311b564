/** First words of a stream: `QEVM` and the only version there has been since 2009. */
export const STREAM_MAGIC = 0x5145564d;
export const STREAM_VERSION = 3;

/** The byte that a section, or what else stands between sections, begins with. */
export const MARK = {
  eof: 0,
  start: 1,
  part: 2,
  end: 3,
  full: 4,
  subsection: 5,
  description: 6,
  configuration: 7,
  command: 8,
  footer: 0x7e,
} as const;

/** The mark and the section's id, which end every section of a machine younger than QEMU 2.4. */
export const FOOTER_BYTES = 5;

export const RAM_SECTION = 'ram';
export const HTAB_SECTION = 'spapr/htab';

/** Where a section's order stands for a guest without a table. */
export const NO_TABLE = 0xffffffff;

/** Names of commands, by number. */
export const COMMANDS = [
  'invalid',
  'open-return-path',
  'ping',
  'postcopy-advise',
  'postcopy-listen',
  'postcopy-run',
  'postcopy-ram-discard',
  'packaged',
  'enable-colo',
  'postcopy-resume',
  'recv-bitmap',
  'switchover-start',
] as const;

export type QemuCommand = (typeof COMMANDS)[number];

/** What a stream of a finished, precopy migration may hold: after the others, bytes mean something else. */
export const PRECOPY_COMMANDS: ReadonlySet<string> = new Set<QemuCommand>([
  'open-return-path',
  'ping',
  'postcopy-advise',
  'switchover-start',
]);

/** A section of a stream, all its parts together. */
export interface QemuSection {
  /** As QEMU numbers it, in this stream. */
  readonly id: number;
  readonly name: string;
  readonly instance: number;
  readonly version: number;
  /** It was sent while the guest ran, in parts: memory and the page table. The others are devices, sent once. */
  readonly iterable: boolean;
  /** Parts that have come: start, part, end; 1 of a device. */
  readonly parts: number;
  /** Bytes of all payloads. */
  readonly bytes: number;
  /** Its last part has come. */
  readonly complete: boolean;
  /** Offset in the stream of its first byte. */
  readonly byteOffset: number;
}

/** A guest's memory, as a stream has it. */
export interface QemuRam {
  readonly blocks: readonly { readonly name: string; readonly bytes: number }[];
  /** Pages that were sent whole, as zeroes, as a difference (xbzrle) or compressed. */
  readonly pages: number;
  /** The pages stand at fixed offsets of the file (mapped-ram). */
  readonly mapped: boolean;
  /** The pages went over other connections (multifd). */
  readonly multifd: boolean;
  /** Those of the pages that were sent compressed. */
  readonly compressedPages: number;
}

/** Of one part of a section. */
export interface QemuPart {
  readonly section: QemuSection;
  readonly type: 'start' | 'part' | 'end' | 'full';
  /** Offset in the stream of its payload. */
  readonly payloadOffset: number;
  /** Offset after its payload, where its footer begins. */
  readonly payloadEnd: number;
}
