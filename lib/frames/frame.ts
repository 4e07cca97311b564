import { crc32 } from 'node:zlib';

/** Bytes of a frame's header. */
export const FRAME_HEADER_BYTES = 16;
/** Of these, the bytes that the CRC covers: all before itself. */
const COVERED_BYTES = 12;

/** One type of frame. */
export interface FrameType {
  /** Its number in the header, 0..255. */
  readonly code: number;
  /** Longest payload, in bytes. */
  readonly maxBytes: number;
}

/**
 * The frames of one kind of file or connection.
 *
 * A frame is a header of 16 bytes, all fields big-endian, and a payload:
 *
 * | bytes | field                                                                     |
 * |-------|---------------------------------------------------------------------------|
 * | 0-1   | magic                                                                     |
 * | 2     | type                                                                      |
 * | 3     | 0                                                                         |
 * | 4-7   | payload length, at most what the type allows                              |
 * | 8-11  | sequence number: the frames of a file, or of one direction, count from 0  |
 * | 12-15 | CRC32 of bytes 0-11 and the payload                                       |
 *
 * So a frame tells by its header alone how much memory it may take, and what is cut, altered, lost, repeated or
 * in another's place is found before anything in it is used.
 */
export interface FrameFormat<Type extends string> {
  /** First 16 bits of every frame. */
  readonly magic: number;
  readonly types: Readonly<Record<Type, FrameType>>;
  /** Makes the error for bytes that are not the frame they should be; `reason` is a clause without a full stop. */
  readonly refuse: (reason: string) => Error;
}

/** What a frame's header announces. */
export interface FrameHeader<Type extends string> {
  readonly type: Type;
  /** Payload bytes that follow, within the type's limit. */
  readonly length: number;
  readonly sequence: number;
  /** CRC32 of the header's first 12 bytes, to be carried on over the payload. */
  readonly headerCrc: number;
  /** What it must come to. */
  readonly crc: number;
}

/** Writes and reads the frames of one format. What frames mean, and which may come when, is for its user to say. */
export class FrameCodec<Type extends string> {
  readonly #format: FrameFormat<Type>;
  readonly #typeNames: ReadonlyMap<number, Type>;

  constructor(format: FrameFormat<Type>) {
    this.#format = format;
    const types = Object.entries<FrameType>(format.types) as [Type, FrameType][];
    this.#typeNames = new Map(types.map(([name, { code }]) => [code, name]));
  }

  /**
   * The header that goes before a payload.
   *
   * @param sequence number of frames before this one; written modulo 2^32
   * @throws RangeError if the payload is longer than the type allows
   */
  encodeHeader(type: Type, sequence: number, payload: Uint8Array): Buffer {
    const { code, maxBytes } = this.#format.types[type];
    if (payload.length > maxBytes) {
      throw new RangeError(`a ${type} frame cannot hold ${payload.length} bytes; ${maxBytes} are allowed`);
    }
    const header = Buffer.alloc(FRAME_HEADER_BYTES);
    header.writeUInt16BE(this.#format.magic, 0);
    header.writeUInt8(code, 2);
    header.writeUInt32BE(payload.length, 4);
    header.writeUInt32BE(sequence % 2 ** 32, 8);
    header.writeUInt32BE(checksum(payload, crc32(header.subarray(0, COVERED_BYTES))), COVERED_BYTES);
    return header;
  }

  /**
   * Reads a header; the payload is not needed to know that it may be read.
   *
   * @param header 16 bytes
   * @throws what the format makes of bytes that begin no frame, or announce too long a payload
   */
  decodeHeader(header: Uint8Array): FrameHeader<Type> {
    const view = new DataView(header.buffer, header.byteOffset, FRAME_HEADER_BYTES);
    const { magic, types, refuse } = this.#format;
    const type = this.#typeNames.get(view.getUint8(2));
    if (view.getUint16(0) !== magic || view.getUint8(3) !== 0 || type === undefined) {
      throw refuse(`${Buffer.from(header).toString('hex', 0, FRAME_HEADER_BYTES)} is not a frame header`);
    }
    const length = view.getUint32(4);
    const { maxBytes } = types[type];
    if (length > maxBytes) {
      throw refuse(`a ${type} frame announces ${length} bytes; ${maxBytes} are allowed`);
    }
    return {
      type,
      length,
      sequence: view.getUint32(8),
      headerCrc: crc32(header.subarray(0, COVERED_BYTES)),
      crc: view.getUint32(COVERED_BYTES),
    };
  }

  /**
   * Says whether header and payload are as they were written, and in their place.
   *
   * @param due sequence number of the frame that should come here, modulo 2^32
   * @throws what the format makes of a damaged frame, or one that belongs elsewhere
   */
  checkPayload(header: FrameHeader<Type>, payload: Uint8Array, due: number): void {
    const { type, sequence, headerCrc, crc } = header;
    const { refuse } = this.#format;
    if (checksum(payload, headerCrc) !== crc) {
      throw refuse(`frame ${sequence} (${type}) is damaged: its CRC32 is wrong`);
    }
    if (sequence !== due % 2 ** 32)
      throw refuse(`frame ${sequence} (${type}) stands where frame ${due} is due`);
  }
}

/** Node's crc32 of nothing is 0, whatever came before, where the nothing has no memory at all. */
function checksum(payload: Uint8Array, headerCrc: number): number {
  return payload.length === 0 ? headerCrc : crc32(payload, headerCrc);
}
