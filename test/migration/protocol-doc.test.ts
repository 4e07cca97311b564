import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { FRAME_HEADER_BYTES } from '../../lib/frames/frame.js';
import type { Message, MessageType } from '../../lib/migration/wire/messages.js';
import {
  MAX_CONTROL_BYTES,
  MAX_DATA_BYTES,
  PROTOCOL_VERSION,
  ask,
  decodeHeader,
  decodePayload,
  encodeFrame,
  hello,
} from '../../lib/migration/wire/protocol.js';
import {
  DESTINATION_TABLE,
  SOURCE_TABLE,
  type DestinationRow,
  type SourceRow,
} from './harness/state-tables.js';

const page = readFileSync('lib/migration/protocol.md', 'utf8');
const DIGEST = 'ab'.repeat(32);

/** The rows of the table that begins with this heading, as trimmed cells. */
function tableOf(...heading: readonly string[]): string[][] {
  const rows = page.split('\n').map((line) =>
    line
      .split('|')
      .slice(1, -1)
      .map((cell) => cell.trim()),
  );
  const first = rows.findIndex((row) => heading.every((name, k) => row[k] === name));
  expect(first, heading.join(', ')).toBeGreaterThan(-1);
  const after = rows.slice(first + 2);
  return after.slice(
    0,
    after.findIndex((row) => row.length === 0),
  );
}

const bare = (cell: string | undefined): string => (cell ?? '').replaceAll('`', '');

/** One of each, with all members. */
const MESSAGES: readonly Message[] = [
  hello({
    migrationId: 'm',
    attempt: 1,
    order: 18,
    headerByteOrder: 'LE',
    backend: 'kvm',
    host: null,
  }),
  { type: 'welcome', backend: 'kvm', host: null, readBack: true },
  { type: 'pass-begin', pass: 1 },
  { type: 'data', records: new Uint8Array(0) },
  { type: 'applied', sequence: 2 },
  { type: 'pass-end', pass: 1, validEntries: 0, invalidEntries: 0, bytes: 0 },
  { type: 'prepare', digest: DIGEST, validEntries: 0, stateBytes: 0 },
  { type: 'prepared', digest: DIGEST },
  { type: 'commit' },
  { type: 'committed' },
  { type: 'abort', code: '', reason: '', retry: false },
  { type: 'heartbeat' },
  ask('m', DIGEST),
  { type: 'outcome', outcome: 'unknown', digest: null },
  { type: 'state', bytes: new Uint8Array(1) },
];

/** Those whose payload is bytes, not a JSON object. */
const isBytes = (type: MessageType): boolean => type === 'data' || type === 'state';

describe('the page of the protocol', () => {
  test('is about this version', () => {
    expect(page).toContain(`# The migration protocol, version ${PROTOCOL_VERSION}\n`);
    expect(hello({} as never).version).toBe(PROTOCOL_VERSION);
  });

  test('has the number and the limit of every type of frame', () => {
    const rows = tableOf('number', 'type', 'from', 'longest payload');
    const seen = rows.map(([number, type, , longest]) => [Number(number), bare(type), Number(longest)]);
    const due = MESSAGES.map((message) => [
      encodeFrame(message, 0).header[2],
      message.type,
      isBytes(message.type) ? MAX_DATA_BYTES : MAX_CONTROL_BYTES,
    ]);
    expect(seen).toEqual(due);
  });

  test('has every member of every message', () => {
    const members = new Map<string, string[]>();
    let message = '';
    for (const [type, member] of tableOf('message', 'member', 'type')) {
      message = bare(type) === '' ? message : bare(type);
      members.set(message, [...(members.get(message) ?? []), ...(bare(member) === '' ? [] : [bare(member)])]);
    }
    for (const { type, ...fields } of MESSAGES) {
      expect(members.get(type), type).toEqual(isBytes(type) ? [] : Object.keys(fields));
    }
  });

  test('has examples that are frames, with the payload that it says', () => {
    const examples = [...page.matchAll(/^An? `([a-z-]+)`|^(?:Its|The) `([a-z-]+)`/gm)];
    const blocks = [...page.matchAll(/([^\n]+)\n\n```hex\n([^`]+)```/g)];
    expect(blocks.length).toBe(8);
    expect(examples.length).toBeGreaterThanOrEqual(blocks.length);
    for (const [, text = '', hex = ''] of blocks) {
      const frame = Buffer.from(hex.replaceAll('\n', ''), 'hex');
      const header = decodeHeader(frame.subarray(0, FRAME_HEADER_BYTES));
      const payload = frame.subarray(FRAME_HEADER_BYTES);
      const message = decodePayload(header, payload, header.sequence);
      const type: MessageType = message.type;
      expect(text).toContain(`\`${type}\``);
      if (!isBytes(type)) expect(text).toContain(`\`${payload.toString()}\``);
      expect(Buffer.concat(Object.values(encodeFrame(message, header.sequence))).equals(frame)).toBe(true);
    }
  });

  test('has the state tables of the specification', () => {
    const dueOf = ({ due }: SourceRow | DestinationRow): Record<string, string> => ({ ...due });
    const readDue = (cell = ''): Record<string, string> => {
      let type = '';
      const due: Record<string, string> = {};
      for (const part of cell === '' ? [] : cell.split('; ')) {
        const [names = '', next] = part.split(': ');
        for (const name of names.split(', ').map(bare)) {
          if (name.startsWith('outcome ')) type = 'outcome ';
          due[name.startsWith(type) ? name : type + name] = bare(next);
        }
      }
      return due;
    };
    const sources = tableOf('state', 'guest runs').map(([state, runs, goesOn, due, lost, retry, refused]) => [
      bare(state),
      {
        runs,
        goesOn: bare(goesOn),
        due: readDue(due),
        lost: bare(lost),
        retry: bare(retry),
        refused: bare(refused),
      },
    ]);
    expect(Object.fromEntries(sources)).toEqual(
      Object.fromEntries(
        Object.entries(SOURCE_TABLE).map(([state, row]) => {
          const { guestRuns, goesOn = '', lost = '', retry = '', refused = '' } = row;
          return [state, { runs: guestRuns ? 'yes' : 'no', goesOn, due: dueOf(row), lost, retry, refused }];
        }),
      ),
    );
    const destinations = tableOf('state', 'table').map(
      ([state, table, goesOn, due, lost, retry, refused, again, asked, answer]) => [
        bare(state),
        {
          ...{ table, goesOn: bare(goesOn), due: readDue(due), lost: bare(lost), retry: bare(retry) },
          ...{ refused: bare(refused), again: bare(again), asked: bare(asked), answer: bare(answer) },
        },
      ],
    );
    expect(Object.fromEntries(destinations)).toEqual(
      Object.fromEntries(
        Object.entries(DESTINATION_TABLE).map(([state, row]) => {
          const { table, goesOn = '', lost = '', retry = '', refused = '', again = '' } = row;
          const { asked = '', answer = '' } = row;
          return [state, { table, goesOn, due: dueOf(row), lost, retry, refused, again, asked, answer }];
        }),
      ),
    );
  });
});
