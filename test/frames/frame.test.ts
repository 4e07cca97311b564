import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { FRAME_HEADER_BYTES, FrameCodec, type FrameHeader } from '../../lib/frames/frame.js';

class Refused extends Error {}

const codec = new FrameCodec({
  magic: 0x4b48,
  types: { data: { code: 4, maxBytes: 1 << 20 }, control: { code: 0xff, maxBytes: 16 } },
  refuse: (reason) => new Refused(reason),
});
type Type = 'data' | 'control';

const frame = (type: Type, sequence: number, payload: Uint8Array): Buffer =>
  Buffer.concat([codec.encodeHeader(type, sequence, payload), payload]);

/** The payload of a frame, if it is the one that is due. */
function open(bytes: Uint8Array, due: number): { header: FrameHeader<Type>; payload: Uint8Array } {
  const header = codec.decodeHeader(bytes.subarray(0, FRAME_HEADER_BYTES));
  const payload = bytes.subarray(FRAME_HEADER_BYTES, FRAME_HEADER_BYTES + header.length);
  codec.checkPayload(header, payload, due);
  return { header, payload };
}

describe('a frame', () => {
  test('has its bytes for good', () => {
    // Entry 5 with v = 0x51 and r = 0x190, and the 65,530 invalid ones after it (kernel-abi.md 2.1).
    const payload = Buffer.from('050000000100faff00000000000000510000000000000190', 'hex');
    expect(frame('data', 2, payload).toString('hex')).toBe(
      `4b480400000000180000000225f2d7bb${payload.toString('hex')}`,
    );
    expect(frame('control', 0xffff_ffff, new Uint8Array(0)).toString('hex')).toMatch(
      /^4b48ff0000000000ffffffff[0-9a-f]{8}$/,
    );
  });

  test('comes back as it was written, whatever it holds and wherever it stands in memory', () => {
    fc.assert(
      fc.property(
        fc.uint8Array({ maxLength: 300 }),
        fc.integer({ min: 0, max: 2 ** 32 - 1 }),
        fc.nat(7),
        (payload, sequence, shift) => {
          const bytes = new Uint8Array(shift + FRAME_HEADER_BYTES + payload.length).subarray(shift);
          bytes.set(frame('data', sequence, payload));
          const opened = open(bytes, sequence);
          expect(opened.header).toMatchObject({ type: 'data', length: payload.length, sequence });
          expect(opened.payload).toEqual(payload);
        },
      ),
    );
  });

  test('is in its place also where its number no longer fits 32 bits, and nowhere else', () => {
    for (const sequence of [2 ** 32 - 1, 2 ** 32, 2 ** 32 + 5]) {
      const bytes = frame('control', sequence, Buffer.from('x'));
      expect(open(bytes, sequence).header.sequence).toBe(sequence % 2 ** 32);
      expect(() => open(bytes, sequence + 1)).toThrow(Refused);
    }
  });

  test('is refused when any bit of it has changed', () => {
    const bytes = frame('control', 17, Buffer.from('0123456789'));
    for (let bit = 0; bit < bytes.length * 8; bit++) {
      const damaged = Buffer.from(bytes);
      damaged[bit >> 3]! ^= 1 << (bit & 7);
      expect(() => open(damaged, 17), `bit ${bit}`).toThrow(Refused);
    }
  });

  test('is refused in any other place than its own, and sequence numbers go on after 2^32', () => {
    const bytes = frame('data', 7, Buffer.from('x'));
    expect(() => open(bytes, 6)).toThrow(new Refused('frame 7 (data) stands where frame 6 is due'));
    const wrapped = frame('data', 2 ** 32 + 3, Buffer.from('x'));
    expect(open(wrapped, 2 ** 32 + 3).header.sequence).toBe(3);
    expect(open(wrapped, 3).header.sequence).toBe(3);
  });

  test('says that it is damaged, not misplaced, when its sequence number is what was altered', () => {
    const bytes = frame('data', 7, Buffer.from('x'));
    bytes[11]! ^= 1;
    expect(() => open(bytes, 7)).toThrow(new Refused('frame 6 (data) is damaged: its CRC32 is wrong'));
  });

  test('is refused by its header alone if it would be longer than its type allows', () => {
    const header = codec.encodeHeader('control', 0, new Uint8Array(16));
    expect(codec.decodeHeader(header).length).toBe(16);
    header.writeUInt32BE(17, 4);
    expect(() => codec.decodeHeader(header)).toThrow(
      new Refused('a control frame announces 17 bytes; 16 are allowed'),
    );
    header.writeUInt32BE(0xffff_ffff, 4);
    expect(() => codec.decodeHeader(header)).toThrow(Refused);
  });

  test('is not made longer than its type allows', () => {
    expect(() => codec.encodeHeader('control', 0, new Uint8Array(17))).toThrow(RangeError);
    expect(codec.encodeHeader('data', 0, new Uint8Array(1 << 20)).readUInt32BE(4)).toBe(1 << 20);
  });

  test('of another magic, an unknown type, or a fourth byte that is not 0 is refused with its bytes', () => {
    const http = Buffer.from('GET / HTTP/1.1\r\n');
    expect(() => codec.decodeHeader(http)).toThrow(
      new Refused(`${http.toString('hex')} is not a frame header`),
    );
    for (const [at, value] of [
      [2, 5],
      [3, 1],
      [0, 0x4a],
    ] as const) {
      const header = codec.encodeHeader('data', 0, new Uint8Array(0));
      header[at] = value;
      expect(() => codec.decodeHeader(header)).toThrow('is not a frame header');
    }
  });
});
