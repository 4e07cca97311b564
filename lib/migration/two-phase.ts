/**
 * Who may run the guest, and when that changes hands. Never both sides, and never neither without an error that says so.
 *
 * **Source.** What it does in each state when something happens:
 *
 * | state        | guest   | connection fails          | peer gives up         | own failure, signal      | goes on when                          |
 * |--------------|---------|---------------------------|-----------------------|--------------------------|---------------------------------------|
 * | `connecting` | runs    | tries again, then stayed  | stayed                | stayed                   | `welcome`: copying                    |
 * | `copying`    | runs    | connecting                | stayed                | stayed, or a restart [1] | few changes: `pause`, stopped         |
 * | `stopped`    | stopped | `resume`, connecting      | `resume`, stayed      | `resume`, stayed or [1]  | `prepared` with our digest: [2], committing |
 * | `committing` | stopped | asking                    | `resume`, stayed [3]  | no effect                | `committed`: moved                    |
 * | `asking`     | stopped | tries again, then in-doubt| tries again           | signal: in-doubt         | `outcome` committed: moved; aborted: `resume`, stayed; unknown: in-doubt |
 * | `moved`      | gone    |                           |                       |                          |                                       |
 * | `stayed`     | runs    |                           |                       |                          |                                       |
 * | `in-doubt`   | stopped | until somebody has asked the destination                                                                      |
 *
 * 1. A table resized or replaced, or a reader that lost changes: begins again with a new reader, if a new connection and
 *    a new reader can be had, at most `maxRestarts` times.
 * 2. Its journal has the migration as pending before `commit` is sent. A source that dies is restarted with: nothing in
 *    the journal, the guest is its own; pending, it is `asking`; decided, that.
 *
 * 3. It has not taken the guest, or it would have said so: only silence leaves a doubt.
 *
 * A peer that gives up "for another try" (`abort` with `retry`) is a connection that failed: `resume` if need be, and
 * connecting.
 *
 * **Destination.** Its own guest never runs before `committed`:
 *
 * | state       | connection fails     | peer gives up      | own failure, signal | `ask`                          | `hello`, same id     | goes on when               |
 * |-------------|----------------------|--------------------|---------------------|--------------------------------|----------------------|----------------------------|
 * | `waiting`   | waits, then aborted  |                    | aborted             | journal [4]                    | copying              | `hello`: copying           |
 * | `copying`   | empties, waiting     | empties, aborted   | empties, aborted    | journal [4]                    | empties, copying     | `prepare` verified: [5], prepared |
 * | `prepared`  | empties, waiting     | empties, aborted   | empties, aborted    | decides aborted, empties       | empties, copying     | `commit`: deciding         |
 * | `deciding`  | no effect            | no effect          | journal fails: [6]  | after the decision, that       | after the decision, refused | decided: committed  |
 * | `committed` | no effect            | no effect          | no effect           | committed                      | refused              | the guest runs here        |
 * | `aborted`   |                      |                    |                     | aborted                        | refused              |                            |
 *
 * 4. A migration that is not in the journal is `unknown`; one that is pending there is decided aborted; else what it is.
 * 5. Its journal has the migration as pending before `prepared` is sent: so `unknown` always means the wrong journal.
 * 6. Not written: empties, aborted. Not known whether it was written: an in-doubt error, the table is left as it is, and
 *    nobody is told anything.
 *
 * `hello` with another id is refused while a connection lives, and taken in `waiting`. Anything else that is not due,
 * in any state, is a peer that fails: both sides give up. A frame that is cut, damaged, lost, repeated or late is a
 * connection that failed.
 *
 * A destination that dies has forgotten `waiting`, `copying` and `prepared`, and its journal answers as above. One that
 * dies in `deciding` has decided or not; after that the journal says `committed`, and so will whoever is asked: the
 * guest is then the destination's, though its agent has to be started again to say so.
 *
 * The one window in which neither side runs the guest, and the source cannot know what is true, is from its `commit` until
 * `committed` or `outcome`.
 */
export type SourceState =
  'connecting' | 'copying' | 'stopped' | 'committing' | 'asking' | 'moved' | 'stayed' | 'in-doubt';

/** See {@link SourceState}. */
export type DestinationState =
  'waiting' | 'copying' | 'prepared' | 'deciding' | 'committed' | 'aborted' | 'in-doubt';
