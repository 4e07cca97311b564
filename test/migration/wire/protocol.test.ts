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
  ask,
  decodePayload,
  encodeFrame,
  hello,
} from '../../../lib/migration/wire/protocol.js';

const DIGEST = 'ab'.repeat(32);
const MIGRATION_ID = '0d2c1b8e-35a4-4f6b-9d0e-8a7f61c2b3d4';

/** Every message with the bytes it has on the wire: header in hexadecimal, then the payload. */
const GOLDEN: readonly { message: Message; sequence: number; header: string; payload: string | Buffer }[] = [
  {
    message: hello({
      migrationId: MIGRATION_ID,
      attempt: 1,
      order: 23,
      headerByteOrder: 'LE',
      backend: 'kvm',
      host: 'power8',
    }),
    sequence: 0,
    header: '4b48 01 00 000000b4 00000000 17af4bdd',
    payload: `{"protocol":"kvm-htab","version":3,"migrationId":"${MIGRATION_ID}","attempt":1,"order":23,"headerByteOrder":"LE","backend":"kvm","host":"power8","features":[]}`,
  },
  {
    message: { type: 'welcome', backend: 'kvm', host: null, readBack: true },
    sequence: 0,
    header: '4b48 02 00 0000002d 00000000 a5fb0829',
    payload: '{"backend":"kvm","host":null,"readBack":true}',
  },
  {
    message: { type: 'pass-begin', pass: 1 },
    sequence: 1,
    header: '4b48 03 00 0000000a 00000001 e1b258c7',
    payload: '{"pass":1}',
  },
  {
    // Entry 5 with v = 0x51 and r = 0x190, and the 65,530 invalid ones after it (kernel-abi.md 2.1).
    message: {
      type: 'data',
      records: Buffer.from('050000000100faff00000000000000510000000000000190', 'hex'),
    },
    sequence: 2,
    header: '4b48 04 00 00000018 00000002 25f2d7bb',
    payload: Buffer.from('050000000100faff00000000000000510000000000000190', 'hex'),
  },
  {
    message: { type: 'applied', sequence: 2 },
    sequence: 1,
    header: '4b48 05 00 0000000e 00000001 456512e4',
    payload: '{"sequence":2}',
  },
  {
    message: { type: 'pass-end', pass: 1, validEntries: 1, invalidEntries: 65530, bytes: 24 },
    sequence: 3,
    header: '4b48 06 00 0000003d 00000003 95053bb9',
    payload: '{"pass":1,"validEntries":1,"invalidEntries":65530,"bytes":24}',
  },
  {
    message: { type: 'prepare', digest: DIGEST, validEntries: 1 },
    sequence: 4,
    header: '4b48 07 00 0000005e 00000004 eb296dd7',
    payload: `{"digest":"${DIGEST}","validEntries":1}`,
  },
  {
    message: { type: 'prepared', digest: DIGEST },
    sequence: 2,
    header: '4b48 08 00 0000004d 00000002 cfc2b8d0',
    payload: `{"digest":"${DIGEST}"}`,
  },
  {
    message: { type: 'commit' },
    sequence: 5,
    header: '4b48 09 00 00000002 00000005 d636b3f2',
    payload: '{}',
  },
  {
    message: { type: 'committed' },
    sequence: 3,
    header: '4b48 0a 00 00000002 00000003 a5251db0',
    payload: '{}',
  },
  {
    message: { type: 'abort', code: 'ERR_HTAB_VERIFY', reason: 'no', retry: false },
    sequence: 0xffffffff,
    header: '4b48 0b 00 00000036 ffffffff c9e4fe6a',
    payload: '{"code":"ERR_HTAB_VERIFY","reason":"no","retry":false}',
  },
  {
    message: { type: 'heartbeat' },
    sequence: 9,
    header: '4b48 0c 00 00000002 00000009 478f3d86',
    payload: '{}',
  },
  {
    message: ask(MIGRATION_ID, DIGEST),
    sequence: 0,
    header: '4b48 0d 00 000000a4 00000000 73b2f38d',
    payload: `{"protocol":"kvm-htab","version":3,"migrationId":"${MIGRATION_ID}","digest":"${DIGEST}"}`,
  },
  {
    message: { type: 'outcome', outcome: 'committed', digest: DIGEST },
    sequence: 0,
    header: '4b48 0e 00 00000063 00000000 a2aa57d3',
    payload: `{"outcome":"committed","digest":"${DIGEST}"}`,
  },
  {
    message: { type: 'state', bytes: Buffer.from('r0 r1') },
    sequence: 4,
    header: '4b48 0f 00 00000005 00000004 52ddb589',
    payload: Buffer.from('r0 r1'),
  },
  {
    message: { type: 'prepare', digest: DIGEST, validEntries: 1, stateBytes: 5 },
    sequence: 5,
    header: '4b48 07 00 0000006d 00000005 b07aaba6',
    payload: `{"digest":"${DIGEST}","validEntries":1,"stateBytes":5}`,
  },
  {
    message: hello(
      {
        migrationId: MIGRATION_ID,
        attempt: 1,
        order: 23,
        headerByteOrder: 'LE',
        backend: 'kvm',
        host: 'power8',
      },
      ['rest'],
    ),
    sequence: 0,
    header: '4b48 01 00 000000ba 00000000 4067d43c',
    payload: `{"protocol":"kvm-htab","version":3,"migrationId":"${MIGRATION_ID}","attempt":1,"order":23,"headerByteOrder":"LE","backend":"kvm","host":"power8","features":["rest"]}`,
  },
];

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
