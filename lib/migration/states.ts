/**
 * The states of both sides, and which may follow which.
 *
 * Never do both sides run the guest, and never neither without an error that says so. The one window in which neither
 * runs it, and the source cannot know where it is, is from its `commit` until `committed` or an `outcome`: in `committing`
 * and `asking`.
 *
 * An `abort` after the commit ends that window without a question, with or without `retry`. That is safe because of two
 * rules of a destination, which every implementation must keep:
 *
 * - It sends `abort` over a connection only if it has not decided on that connection's `commit` and never will: it has not
 *   read one and reads nothing more, or its journal says `aborted`, or its journal has refused the decision, so that
 *   nothing in it can be read as `committed`. In `deciding` it sends nothing but heartbeats; in `in-doubt` it closes the connection
 *   without a message.
 * - It decides `committed` only on a `commit` that it has read on the connection over which it sent `prepared`. What it
 *   reads from a second connection, or another process reads from the same journal, decides `aborted` or nothing.
 *
 * So no decision can follow an abort, and no abort a decision. A peer that can forge an abort can forge `committed` as
 * well: both are only as trustworthy as the transport.
 *
 * protocol.md says what leads from one state to the next. test/migration/harness/state-tables.ts is its specification: the
 * tests bring about every event of it in every state.
 *
 * @module
 */

/** The states that may follow each state of a side. */
export type Allowed<State extends string> = Readonly<Record<State, readonly State[]>>;

/**
 * A state of the source. The guest runs there in `connecting`, `copying` and `stayed`; in `stayed` it has been resumed if
 * it was stopped, or an error says that this failed.
 */
export type SourceState =
  'connecting' | 'copying' | 'stopped' | 'committing' | 'asking' | 'moved' | 'stayed' | 'in-doubt';

export const SOURCE_STATES: Allowed<SourceState> = {
  connecting: ['connecting', 'copying', 'stayed'],
  copying: ['stopped', 'connecting', 'stayed'],
  stopped: ['committing', 'connecting', 'stayed'],
  // A destination that aborts has not taken the guest and never will: only silence leaves a doubt.
  committing: ['moved', 'asking', 'connecting', 'stayed'],
  asking: ['moved', 'stayed', 'in-doubt'],
  moved: [],
  stayed: [],
  'in-doubt': [],
};

/** A state of the destination. The guest runs there in none but `committed`. */
export type DestinationState =
  'waiting' | 'copying' | 'prepared' | 'deciding' | 'committed' | 'aborted' | 'in-doubt';

export const DESTINATION_STATES: Allowed<DestinationState> = {
  waiting: ['waiting', 'copying', 'aborted'],
  copying: ['prepared', 'waiting', 'aborted'],
  prepared: ['deciding', 'waiting', 'aborted'],
  deciding: ['committed', 'aborted', 'in-doubt'],
  committed: [],
  aborted: [],
  'in-doubt': [],
};
