import type { Message } from '../../../lib/migration/wire/messages.js';
import { ask, hello } from '../../../lib/migration/wire/protocol.js';

export const DIGEST = 'ab'.repeat(32);
const MIGRATION_ID = '0d2c1b8e-35a4-4f6b-9d0e-8a7f61c2b3d4';

/** Every message with the bytes it has on the wire: header in hexadecimal, then the payload. */
export const GOLDEN: readonly {
  message: Message;
  sequence: number;
  header: string;
  payload: string | Buffer;
}[] = [
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
