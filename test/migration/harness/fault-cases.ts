import { expect } from 'vitest';
import { HtabError, HtabStateError, HtabSystemError } from '../../../lib/base/errors.js';
import { inDoubtError } from '../../../lib/migration/errors.js';
import { type Side } from '../../../lib/migration/journal/journal.js';
import { MemoryJournal } from '../../../lib/migration/journal/memory-journal.js';
import { askOutcome } from '../../../lib/migration/outcome.js';
import type { Message, MessageType } from '../../../lib/migration/wire/messages.js';
import { ask, encodeFrame, hello } from '../../../lib/migration/wire/protocol.js';
import { DESTINATION_TABLE, SOURCE_TABLE, type DestinationRow, type SourceRow } from './state-tables.js';
import { diskIsFull, failing, slow, withCalls } from './failing-calls.js';
import type { FaultPoint, State } from './fault-point.js';
import { FRAME_FAULTS, frameWire } from './faulty-wire.js';
import { MIGRATION_ID } from './two-hosts.js';
import type { TwoHostsOptions } from './two-hosts-options.js';

/** Something that happens to one side in one state, brought about between two real agents on emulated hosts. */
export interface FaultCase {
  readonly side: Side;
  readonly state: State;
  /** The cell of the row that says what follows; of `due`, with the message. */
  readonly cell: string;
  readonly event: string;
  /** States that must follow; where one is the state it happened in, nothing follows from it. */
  readonly then: readonly State[];
  readonly set: (point: FaultPoint) => Omit<TwoHostsOptions, 'guest'>;
}

type Row = SourceRow | DestinationRow;
type Cases = Generator<FaultCase, void, undefined>;

const HELLO = hello({
  migrationId: MIGRATION_ID,
  attempt: 9,
  order: 18,
  headerByteOrder: 'LE',
  backend: 'emulated',
  host: 'power8',
});
const ABORT = { type: 'abort', code: 'ERR_HTAB_MIGRATION', reason: 'enough', retry: false } as const;
const DIGEST = '00'.repeat(32);

const isInDoubt = (): Promise<never> =>
  Promise.reject(inDoubtError('it is not known whether it was written', 'check the disk'));

/** One message of each type. */
const MESSAGES: Readonly<Record<MessageType, Message>> = {
  hello: HELLO,
  welcome: { type: 'welcome', backend: 'emulated', host: 'power8', readBack: true },
  'pass-begin': { type: 'pass-begin', pass: 77 },
  data: { type: 'data', records: new Uint8Array(0) },
  applied: { type: 'applied', sequence: 77_777 },
  'pass-end': { type: 'pass-end', pass: 77, validEntries: 0, invalidEntries: 0, bytes: 0 },
  prepare: { type: 'prepare', digest: DIGEST, validEntries: 0 },
  prepared: { type: 'prepared', digest: DIGEST },
  commit: { type: 'commit' },
  committed: { type: 'committed' },
  abort: ABORT,
  heartbeat: { type: 'heartbeat' },
  ask: ask(MIGRATION_ID),
  outcome: { type: 'outcome', outcome: 'unknown', digest: null },
  state: { type: 'state', bytes: new Uint8Array(77) },
};

/** Checks made beside a case, to be awaited at its end. */
export const checks: Promise<unknown>[] = [];

/** The cells of a row that have something in them. */
export function cellsOf({ due, ...row }: Row): string[] {
  const about = ['guestRuns', 'journal', 'table', 'answer', 'goesOn'];
  return [
    ...Object.keys(due).map((message) => `due ${message}`),
    ...Object.keys(row).filter((name) => !about.includes(name)),
  ];
}

export function* sourceCases(): Cases {
  const side = 'source';
  for (const [state, row] of Object.entries(SOURCE_TABLE) as [State, SourceRow][]) {
    yield* casesOfRow(side, state, row);
    const unreadable = new HtabSystemError('read', 'EIO', { operation: 'read' });
    yield* one(side, state, 'failed', 'its table cannot be read', (point) => ({
      wrapSource: (vm) => failing(point, vm, 'read', unreadable),
      send: { maxRestarts: 0 },
    }));
    const replaced = new HtabStateError('order-changed', 'another table');
    yield* one(side, state, 'restart', 'its table is replaced', (point) => ({
      wrapSource: (vm) => failing(point, vm, 'read', replaced),
    }));
  }
  yield* one(side, 'copying', 'failed', 'the guest cannot be paused', (point) => ({
    send: { pause: () => struck(point, diskIsFull) },
  }));
  yield* one(side, 'stopped', 'failed', 'its journal is full', (point) => ({
    sourceJournal: withCalls(new MemoryJournal(), { begin: () => struck(point, diskIsFull) }),
  }));
  yield* one(side, 'stopped', 'failed', 'its journal may or may not have it', (point) => ({
    sourceJournal: withCalls(new MemoryJournal(), { begin: () => struck(point, isInDoubt) }),
  }));
  yield* one(side, 'committing', 'refused', 'the destination cannot write its decision', (point) => ({
    receive: { journal: withCalls(new MemoryJournal(), { decide: () => struck(point, diskIsFull) }) },
  }));
  yield* one(side, 'committing', 'retry', 'the destination gets a damaged commit', (point) => ({
    wires: () => ({
      fromSource: frameWire((type) => point.isNow && type === 'commit', 'damaged', point.strike),
    }),
  }));
}

export function* destinationCases(): Cases {
  const side = 'destination';
  for (const [state, row] of Object.entries(DESTINATION_TABLE) as [State, DestinationRow][]) {
    yield* casesOfRow(side, state, row);
    const beside =
      (act: (point: FaultPoint) => Promise<void>): FaultCase['set'] =>
      (point) => {
        point.onArrival(() => checks.push(act(point)));
        const targetJournal = new MemoryJournal();
        const journal = state === 'deciding' ? slow(targetJournal) : targetJournal;
        return { ...point.way, targetJournal, receive: { journal } };
      };
    const asks = beside(async ({ hosts }) => {
      expect(await askOutcome(await hosts.network.connect(), MIGRATION_ID)).toBe(row.answer);
    });
    yield* one(side, state, 'asked', 'the source asks over another connection', asks);
    const says = (message: Message): FaultCase['set'] =>
      beside(async ({ hosts }) => {
        const channel = await hosts.network.connect();
        channel.on('error', () => undefined).resume();
        channel.write(Buffer.concat(Object.values(encodeFrame(message, 0))));
      });
    yield* one(side, state, 'again', 'hello comes over another connection', says(HELLO));
    if (row.again === undefined) continue;
    const other = says({ ...HELLO, migrationId: 'another' });
    yield { side, state, cell: 'again', event: 'hello of another comes', then: [state], set: other };
  }
  const unwritable = new HtabSystemError('write', 'EIO', { operation: 'write' });
  yield* one(side, 'copying', 'failed', 'its table cannot be written', (point) => ({
    wrapTarget: (vm) => failing(point, vm, 'writeRecords', unwritable),
  }));
  const journal =
    (call: 'begin' | 'decide', fail: () => Promise<never>): FaultCase['set'] =>
    (point) => {
      const targetJournal = new MemoryJournal();
      const failing = withCalls(targetJournal, { [call]: () => struck(point, fail) });
      return { targetJournal, receive: { journal: failing } };
    };
  yield* one(side, 'copying', 'failed', 'its journal is full', journal('begin', diskIsFull));
  yield* one(side, 'copying', 'failed', 'its journal may or may not have it', journal('begin', isInDoubt));
  yield* one(side, 'deciding', 'failed', 'its journal is full', journal('decide', diskIsFull));
  const unknown = journal('decide', isInDoubt);
  yield* one(side, 'deciding', 'unwritten', 'its journal may or may not have it', unknown);
  yield* one(side, 'deciding', 'lost', 'the connection is gone', (point) => {
    point.onArrival(() => {
      for (const channel of point.hosts.network.channels) channel.destroy();
    });
    return {};
  });
}

/** What may happen in any state of either side. */
function* casesOfRow(side: Side, state: State, row: Row): Cases {
  for (const due of Object.keys(row.due)) yield* casesOfMessage(side, state, row, due);
  yield* one(side, state, 'signal', 'the signal is aborted', (point) => {
    const stop = new AbortController();
    point.onArrival(() => {
      stop.abort(new HtabError('ERR_HTAB_MIGRATION', 'the operator says stop'));
    });
    const { signal } = stop;
    return { ...point.way, ...(side === 'source' ? { send: { signal } } : { receive: { signal } }) };
  });
  const { journal } = row;
  if (journal === undefined) return;
  const killed: FaultCase['set'] = (point) => {
    point.onArrival(() => {
      const { hosts } = point;
      hosts[side].kill();
      const written = side === 'source' ? hosts.sourceJournal : hosts.targetJournal;
      const entry = written.find(side, MIGRATION_ID);
      checks.push(entry.then((found) => expect(found?.state ?? 'nothing').toBe(journal)));
    });
    return point.way;
  };
  yield { side, state, cell: 'journal', event: 'it is killed', then: [], set: killed };
}

/** What may become of one message that is due, and what may come in its place. */
function* casesOfMessage(side: Side, state: State, row: Row, due: string): Cases {
  const [type, outcome] = due.split(' ') as [MessageType, string?];
  const at = (cell: string, event: string, fault: Parameters<FaultPoint['wires']>[1]): Cases =>
    one(side, state, cell, event, (point) => point.wires(type, fault));
  yield* one(side, state, `due ${due}`, `${due} comes`, (point) => {
    point.losesCommit = outcome === 'aborted';
    return point.wires(type, outcome === 'unknown' ? MESSAGES.outcome : 'none');
  });
  if (outcome !== undefined && outcome !== 'committed') return;

  for (const fault of FRAME_FAULTS) {
    if (fault === 'twice') {
      const next = row.due[due]!;
      const then = [next, rowOf(side, next).lost ?? next];
      yield { side, state, cell: 'lost', event: `${type} comes twice`, then, set: twice(type) };
    } else if (fault !== 'reset-after') {
      // Whether a frame right before the end of a connection is still read is chance.
      yield* at('lost', `${type}: ${fault}`, fault);
    }
  }
  const mayCome = Object.keys(row.due).map((message) => message.split(' ')[0]);
  for (const message of Object.values(MESSAGES)) {
    const isDue = mayCome.includes(message.type) || message.type === 'heartbeat';
    // A first message of the other kind is answered.
    if (isDue || message.type === 'abort' || (state === 'waiting' && message.type === 'ask')) continue;
    yield* at('unexpected', `${message.type} comes for ${type}`, message);
  }
  // Only a destination that has not taken the guest says so after the commit: nobody may make it up.
  if (state === 'committing') return;
  yield* at('refused', `abort comes for ${type}`, ABORT);
  yield* at('retry', `abort with retry comes for ${type}`, { ...ABORT, retry: true });
}

const twice =
  (type: MessageType): FaultCase['set'] =>
  (point) =>
    point.wires(type, 'twice');

/** One case, if the row has such a cell. */
function* one(side: Side, state: State, cell: string, event: string, set: FaultCase['set']): Cases {
  const row = rowOf(side, state);
  const then = cell.startsWith('due ')
    ? row.due[cell.slice(4)]
    : (row as unknown as Readonly<Record<string, State | undefined>>)[cell];
  if (then !== undefined) yield { side, state, cell, event, then: [then], set };
}

export function rowOf(side: Side, state: State): Row {
  const rows: Readonly<Record<string, Row>> = side === 'source' ? SOURCE_TABLE : DESTINATION_TABLE;
  return rows[state]!;
}

function struck<T>(point: FaultPoint, call: () => Promise<T>): Promise<T> {
  point.strike();
  return call();
}
