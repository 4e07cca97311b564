/**
 * Who may run the guest, and when that changes hands: never both sides, and never neither without an error that says so.
 * The two tables below have a row for each state of a side, with what is true in it, and the state that follows each
 * thing that can happen. What cannot happen in a state has no cell there. The sides go by them: see `States`.
 *
 * - `goesOn`: what the side does by itself.
 * - `due`: the messages that the peer may send, each with what comes of it. A heartbeat may come at any time and changes
 *   nothing, but a peer that gives nothing else for long is lost.
 * - `lost`: the connection fails. A frame that is cut, damaged, lost, repeated or late is just that.
 * - `retry`: the peer gives up this connection, and would take another one (`abort` with `retry`).
 * - `refused`: the peer gives up (`abort`).
 * - `unexpected`: the peer sends a message that is not due.
 * - `failed`: a call of this side's own fails: its table, its guest, its journal.
 * - `signal`: the caller's signal is aborted.
 * - `restart`: the source's reader has lost changes, or the table has been replaced: a new reader, if there can be one.
 * - `again`: the source comes back over another connection, with `hello` and the same id. One with another id is refused.
 * - `asked`: the source asks over another connection.
 * - `unwritten`: the destination's journal cannot tell whether it has taken the decision, or does not answer.
 *
 * A process that is killed leaves its `journal`, and goes by it when it is started again. The source: nothing there, the
 * guest is its own; `pending`, it is `asking`; decided, that. The destination: it has forgotten what is not there, answers
 * that what is `pending` is aborted, and what is decided as that; the guest of a `committed` one is its own.
 *
 * The one window in which neither side runs the guest, and the source cannot know what is true, is from its `commit`
 * until `committed` or an `outcome`: in `committing` and `asking`.
 *
 * @module
 */

/** What follows, by what happens. */
interface Cells<State extends string> {
  readonly due: Readonly<Record<string, State>>;
  readonly goesOn?: State;
  readonly lost?: State;
  readonly retry?: State;
  readonly refused?: State;
  readonly unexpected?: State;
  readonly failed?: State;
  readonly signal?: State;
  readonly restart?: State;
  readonly again?: State;
  readonly asked?: State;
  readonly unwritten?: State;
}

/** A row for each state. */
export type StateTable<State extends string> = Readonly<Record<State, Cells<State>>>;

/** The states that may follow one. */
export function followers<State extends string>(row: Cells<State>): readonly (State | undefined)[] {
  const { due, goesOn, lost, retry, refused, unexpected, failed, signal } = row;
  const { restart, again, asked, unwritten } = row;
  const cells = [goesOn, lost, retry, refused, unexpected, failed, signal, restart, again, asked, unwritten];
  return [...Object.values<State>(due), ...cells];
}

export type SourceState =
  'connecting' | 'copying' | 'stopped' | 'committing' | 'asking' | 'moved' | 'stayed' | 'in-doubt';

/** A state of the source. */
export interface SourceRow extends Cells<SourceState> {
  /** Whether the guest runs here; a guest that stood still has been resumed by then, or the error says that it could not. */
  readonly guestRuns: boolean;
  /** What its journal says when it first comes here. */
  readonly journal?: 'nothing' | 'pending' | 'committed';
}

/** See the head of this file. */
export const SOURCE_STATES: Readonly<Record<SourceState, SourceRow>> = {
  // A connection that fails is tried again within the limits for that; then it is `stayed`, or `in-doubt` if `asking`.
  connecting: {
    guestRuns: true,
    journal: 'nothing',
    due: { welcome: 'copying' },
    lost: 'connecting',
    retry: 'connecting',
    refused: 'stayed',
    unexpected: 'stayed',
    failed: 'stayed',
    signal: 'stayed',
  },
  // When few entries change it pauses the guest.
  copying: {
    guestRuns: true,
    journal: 'nothing',
    due: { applied: 'copying' },
    goesOn: 'stopped',
    lost: 'connecting',
    retry: 'connecting',
    refused: 'stayed',
    unexpected: 'stayed',
    failed: 'stayed',
    signal: 'stayed',
    restart: 'connecting',
  },
  // On `prepared` with its own digest it writes to its journal, and only then sends `commit`.
  stopped: {
    guestRuns: false,
    journal: 'nothing',
    due: { applied: 'stopped', prepared: 'committing' },
    lost: 'connecting',
    retry: 'connecting',
    refused: 'stayed',
    unexpected: 'stayed',
    failed: 'stayed',
    signal: 'stayed',
    restart: 'connecting',
  },
  // A destination that gives up has not taken the guest, or it would have said so: only silence leaves a doubt.
  committing: {
    guestRuns: false,
    journal: 'pending',
    due: { committed: 'moved' },
    lost: 'asking',
    retry: 'connecting',
    refused: 'stayed',
    unexpected: 'asking',
    signal: 'committing',
  },
  asking: {
    guestRuns: false,
    journal: 'pending',
    due: { 'outcome committed': 'moved', 'outcome aborted': 'stayed', 'outcome unknown': 'in-doubt' },
    lost: 'asking',
    retry: 'asking',
    refused: 'asking',
    unexpected: 'asking',
    signal: 'in-doubt',
  },
  moved: { guestRuns: false, journal: 'committed', due: {} },
  // The journal says `aborted` of what was `pending`.
  stayed: { guestRuns: true, due: {} },
  // Until somebody has asked the destination.
  'in-doubt': { guestRuns: false, due: {} },
};

export type DestinationState =
  'waiting' | 'copying' | 'prepared' | 'deciding' | 'committed' | 'aborted' | 'in-doubt';

/** A state of the destination; its guest runs in none but `committed`. */
export interface DestinationRow extends Cells<DestinationState> {
  /** What stands in its table. Before the first `hello` it is as it was. */
  readonly table: 'nothing' | 'a part' | 'all';
  /** What its journal says when it first comes here. */
  readonly journal?: 'nothing' | 'pending' | 'committed';
  /** What a source that asks is told. */
  readonly answer?: 'unknown' | 'aborted' | 'committed';
}

/** See the head of this file. */
export const DESTINATION_STATES: Readonly<Record<DestinationState, DestinationRow>> = {
  // Anybody can connect to a port: who says nothing proper is forgotten. If nobody comes in time: `aborted`.
  waiting: {
    table: 'nothing',
    journal: 'nothing',
    due: { hello: 'copying' },
    lost: 'waiting',
    retry: 'waiting',
    refused: 'waiting',
    unexpected: 'waiting',
    signal: 'aborted',
    asked: 'waiting',
    answer: 'unknown',
  },
  // On `prepare` with the digest of what has arrived it writes to its journal, and only then says `prepared`: so that
  // `unknown` always means the wrong journal.
  copying: {
    table: 'a part',
    journal: 'nothing',
    due: { 'pass-begin': 'copying', data: 'copying', 'pass-end': 'copying', prepare: 'prepared' },
    lost: 'waiting',
    retry: 'waiting',
    refused: 'aborted',
    unexpected: 'aborted',
    failed: 'aborted',
    signal: 'aborted',
    again: 'waiting',
    asked: 'copying',
    answer: 'unknown',
  },
  prepared: {
    table: 'all',
    journal: 'pending',
    due: { commit: 'deciding' },
    lost: 'waiting',
    retry: 'waiting',
    refused: 'aborted',
    unexpected: 'aborted',
    signal: 'aborted',
    again: 'waiting',
    asked: 'aborted',
    answer: 'aborted',
  },
  // Nothing that comes over a connection matters until the journal has the decision.
  deciding: {
    table: 'all',
    journal: 'pending',
    due: {},
    goesOn: 'committed',
    lost: 'deciding',
    failed: 'aborted',
    unwritten: 'in-doubt',
    signal: 'deciding',
    again: 'deciding',
    asked: 'deciding',
    answer: 'committed',
  },
  committed: { table: 'all', journal: 'committed', due: {}, asked: 'committed', answer: 'committed' },
  // The journal says so of what was `pending`.
  aborted: { table: 'nothing', due: {} },
  // The table is left as it is, and nobody is told anything until somebody has looked at the disk.
  'in-doubt': { table: 'all', due: {} },
};
