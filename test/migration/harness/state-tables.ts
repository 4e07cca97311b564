/**
 * The specification of the two-phase commit: a row for each state of a side, with what is true in it, and the state that
 * follows each event. An event that cannot happen in a state has no cell there. The tests in state-tables.test.ts are
 * made from it; lib/migration/states.ts has which states may follow which, and the rules that make an `abort` final.
 *
 * - `goesOn`: the side goes on by itself.
 * - `due`: the peer sends a message that is due. A heartbeat is always due and changes nothing, but a peer that sends
 *   nothing else for long is lost.
 * - `lost`: the connection fails. A cut, damaged, lost, repeated or late frame is a failed connection.
 * - `retry`: the peer gives up this connection, and would take another one (`abort` with `retry`).
 * - `refused`: the peer gives up the migration (`abort`).
 * - `unexpected`: the peer sends a message that is not due.
 * - `failed`: a call of this side fails: of its table, its guest or its journal.
 * - `signal`: the caller's signal is aborted.
 * - `restart`: the source's reader has lost changes, or the table was replaced; a new reader begins again, if it can.
 * - `again`: the source sends `hello` with the same id over another connection. A source with another id is refused.
 * - `asked`: the source asks over another connection, about the table that is or was prepared here. The answer about
 *   another table under the same id is `unknown`, and changes nothing.
 * - `unwritten`: the destination's journal cannot tell whether it has the decision, or does not answer.
 *
 * A process that is killed leaves its `journal`, and goes by it when it is started again. A source without an entry keeps
 * its guest; with a `pending` one it is `asking`; a decided one stands. A destination without an entry has forgotten the
 * migration; a `pending` one it answers as aborted; a decided one stands, and the guest of a `committed` one is its own.
 *
 * @module
 */

import type { DestinationState, SourceState } from '../../../lib/migration/states.js';

/** The state that follows each event. */
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

/** The states that follow an event of this row. */
export function followersOf<State extends string>(row: Cells<State>): Set<State> {
  const { due, goesOn, lost, retry, refused, unexpected, failed, signal } = row;
  const { restart, again, asked, unwritten } = row;
  const cells = [goesOn, lost, retry, refused, unexpected, failed, signal, restart, again, asked, unwritten];
  return new Set([...Object.values<State>(due), ...cells.filter((state) => state !== undefined)]);
}

/** What is true in a state of the source. */
export interface SourceRow extends Cells<SourceState> {
  /** Whether the guest runs here. In `stayed` it has been resumed if it was stopped, or the error says that this failed. */
  readonly guestRuns: boolean;
  /** What its journal says when it first enters the state. */
  readonly journal?: 'nothing' | 'pending' | 'committed';
}

export const SOURCE_TABLE: Readonly<Record<SourceState, SourceRow>> = {
  // A connection that fails is tried again within the limits for that (before the first `welcome`, `waitMs`: none); then it
  // is `stayed`, or `in-doubt` if `asking`.
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
  // When few entries change, it pauses the guest.
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
  // A destination that aborts has not taken the guest and never will (states.ts): only silence leaves a doubt.
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
  // Until an operator has asked the destination.
  'in-doubt': { guestRuns: false, due: {} },
};

/** What is true in a state of the destination; the guest runs there in none but `committed`. */
export interface DestinationRow extends Cells<DestinationState> {
  /** What its table holds. Before the first `hello` the table is unchanged. */
  readonly table: 'nothing' | 'a part' | 'all';
  /** What its journal says when it first enters the state. */
  readonly journal?: 'nothing' | 'pending' | 'committed';
  /** The answer to a source that asks. */
  readonly answer?: 'unknown' | 'aborted' | 'committed';
}

export const DESTINATION_TABLE: Readonly<Record<DestinationState, DestinationRow>> = {
  // Anyone can connect to a port: an invalid peer changes nothing. If no source comes in time: `aborted`.
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
  // On `prepare` with the digest of what has arrived it writes to its journal, and only then sends `prepared`: so
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
  // No message matters until the journal has the decision.
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
  // The table is kept, and no peer is answered, until an operator has checked the disk.
  'in-doubt': { table: 'all', due: {} },
};
