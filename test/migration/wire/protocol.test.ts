import { crc32 } from 'node:zlib';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { isHtabError } from '../../../lib/base/errors.js';
import { FRAME_HEADER_BYTES } from '../../../lib/frames/frame.js';
import type { Message } from '../../../lib/migration/wire/messages.js';
import {
  MAX_CONTROL_BYTES,
  MAX_DATA_BYTES,
  PROTOCOL_VERSION,
  decodeHeader,
  decodePayload,
  encodeFrame,
} from '../../../lib/migration/wire/protocol.js';
import { DIGEST, GOLDEN } from './golden-frames.js';

const wire = (message: Message, sequence: number): Buffer => {
  const { header, payload } = encodeFrame(message, sequence);
  return Buffer.concat([header, payload]);
};
const decode = (frame: Buffer): Message =>
  decodeAt(frame, decodeHeader(frame.subarray(0, FRAME_HEADER_BYTES)).sequence);
const decodeAt = (frame: Buffer, due: number): Message =>
  decodePayload(decodeHeader(frame.subarray(0, FRAME_HEADER_BYTES)), frame.subarray(FRAME_HEADER_BYTES), due);

/** A frame with this payload, and a right CRC. */
function frameOf(type: Message['type'], payload: string): Buffer {
  const { header } = encodeFrame({ type: 'data', records: Buffer.from(payload) }, 0);
  const typed = encodeFrame({ type: 'commit' }, 0).header;
  typed[2] = GOLDEN.findIndex(({ message }) => message.type === type) + 1;
  typed.set(header.subarray(4, 8), 4);
  typed.writeUInt32BE(crc32(payload, crc32(typed.subarray(0, 12))), 12);
  return Buffer.concat([typed, Buffer.from(payload)]);
}

describe('a frame', () => {
  test.each(GOLDEN)(
    'of type $message.type has its bytes for good',
    ({ message, sequence, header, payload }) => {
      const bytes = Buffer.concat([Buffer.from(header.replaceAll(' ', ''), 'hex'), Buffer.from(payload)]);
      expect(wire(message, sequence).toString('hex')).toBe(bytes.toString('hex'));
      expect(decodeHeader(bytes.subarray(0, 16))).toMatchObject({ type: message.type, sequence });
      expect(decode(bytes)).toEqual(message);
    },
  );

  test('is refused when any bit of it has changed', () => {
    const frame = wire({ type: 'pass-end', pass: 3, validEntries: 7, invalidEntries: 9, bytes: 200 }, 17);
    for (let bit = 0; bit < frame.length * 8; bit++) {
      const damaged = Buffer.from(frame);
      damaged[bit >> 3]! ^= 1 << (bit & 7);
      expect(() => decode(damaged), `bit ${bit}`).toThrow(
        expect.objectContaining({ code: 'ERR_HTAB_MIGRATION' }),
      );
    }
  });

  test('without a payload is the same whatever memory its nothing is in', () => {
    const nothings = [new Uint8Array(0), new Uint8Array(8).subarray(8), Buffer.alloc(0).subarray(0, 0)];
    const headers = nothings.map((records) =>
      encodeFrame({ type: 'data', records }, 3).header.toString('hex'),
    );
    expect(new Set(headers).size).toBe(1);
    for (const nothing of nothings) {
      const header = decodeHeader(Buffer.from(headers[0]!, 'hex'));
      expect(decodePayload(header, Buffer.from(nothing.buffer, nothing.byteOffset, 0), 3).type).toBe('data');
    }
  });

  test('is refused by its header alone if it would be too long', () => {
    const data = encodeFrame({ type: 'data', records: new Uint8Array(MAX_DATA_BYTES) }, 0).header;
    expect(decodeHeader(data).length).toBe(MAX_DATA_BYTES);
    data.writeUInt32BE(MAX_DATA_BYTES + 1, 4);
    expect(() => decodeHeader(data)).toThrow('a data frame announces 1048577 bytes; 1048576 are allowed');
    const abort = encodeFrame({ type: 'abort', code: '', reason: '', retry: false }, 0).header;
    abort.writeUInt32BE(MAX_CONTROL_BYTES + 1, 4);
    expect(() => decodeHeader(abort)).toThrow('a abort frame announces 4097 bytes; 4096 are allowed');
  });

  test('is not made longer than it may be', () => {
    const bytes = new Uint8Array(MAX_DATA_BYTES + 1);
    expect(() => encodeFrame({ type: 'data', records: bytes }, 0)).toThrow(RangeError);
    expect(() => encodeFrame({ type: 'state', bytes }, 0)).toThrow(RangeError);
  });

  test('that begins with another magic, or is of an unknown type, is refused with its bytes', () => {
    const http = Buffer.from('GET / HTTP/1.1\r\nHost: x\r\n');
    expect(() => decodeHeader(http.subarray(0, 16))).toThrow(http.toString('hex', 0, 16));
    const unknown = encodeFrame({ type: 'commit' }, 0).header;
    unknown[2] = 16;
    expect(() => decodeHeader(unknown)).toThrow('is not a frame header');
  });
});

describe('a message', () => {
  test.each(['[', '7', 'null', '"text"', '', '\xff'])('of a payload %j is refused', (payload) => {
    expect(() => decode(frameOf('applied', payload))).toThrow('frame 0 (applied) holds no JSON object');
  });

  test.each([
    ['applied', '{}', 'sequence'],
    ['applied', '{"sequence":-1}', 'sequence'],
    ['applied', '{"sequence":1.5}', 'sequence'],
    ['applied', '{"sequence":"1"}', 'sequence'],
    ['applied', '{"sequence":9007199254740992}', 'sequence'],
    ['prepare', `{"digest":"${DIGEST}","validEntries":1,"stateBytes":-1}`, 'stateBytes'],
    ['prepared', `{"digest":"${'AB'.repeat(32)}"}`, 'digest'],
    ['prepared', `{"digest":"${'ab'.repeat(31)}"}`, 'digest'],
    ['abort', `{"code":"x","reason":"${'y'.repeat(1025)}"}`, 'reason'],
    ['ask', '{"protocol":"kvm-htab","version":3,"migrationId":"m"}', 'digest'],
    ['outcome', '{"outcome":"committed","digest":7}', 'digest'],
    ['welcome', '{"backend":"qemu"}', 'backend'],
    ['welcome', '{"__proto__":{"backend":"kvm"}}', 'backend'],
  ] as const)('%s of %s lacks a valid %s', (type, payload, field) => {
    expect(() => decode(frameOf(type, payload))).toThrow(`frame 0 (${type}) lacks a valid "${field}"`);
  });

  test.each([17, 37, 18.5, '23'])('of a source with a table of order %j is refused', (order) => {
    const fields = {
      protocol: 'kvm-htab',
      version: 3,
      migrationId: 'x',
      attempt: 1,
      order,
      headerByteOrder: 'LE',
      backend: 'kvm',
    };
    expect(() => decode(frameOf('hello', JSON.stringify(fields)))).toThrow('lacks a valid "order"');
  });

  test('may have fields that are not known here', () => {
    expect(decode(frameOf('applied', '{"sequence":3,"since":"version 2"}'))).toEqual({
      type: 'applied',
      sequence: 3,
    });
  });

  test.each([1, 2, 4])('of version %d is refused by name, whatever else it says', (version) => {
    expect(() =>
      decode(frameOf('hello', `{"protocol":"kvm-htab","version":${version},"shape":"old"}`)),
    ).toThrow(`the source speaks protocol version ${version}, the destination version ${PROTOCOL_VERSION}`);
  });

  test('of another protocol is refused by name', () => {
    expect(() => decode(frameOf('hello', '{"protocol":"other"}'))).toThrow(
      'does not speak the kvm-htab protocol',
    );
  });

  test('decoded from arbitrary bytes is a message or a typed refusal', () => {
    fc.assert(
      fc.property(
        fc.constantFrom(...GOLDEN.map(({ message }) => message.type)),
        fc.oneof(fc.json(), fc.string()),
        (type, payload) => {
          fc.pre(Buffer.byteLength(payload) <= MAX_CONTROL_BYTES);
          try {
            expect(decode(frameOf(type, payload)).type).toBe(type);
          } catch (error) {
            expect(isHtabError(error), String(error)).toBe(true);
          }
        },
      ),
    );
  });
});
