import type { Side } from '../../migration/journal/journal.js';
import type { ToldState } from './told.js';

/** What each state means for the guest at the side whose journal this is. */
export const MEANINGS: Readonly<Record<Side, Readonly<Record<ToldState, string>>>> = {
  source: {
    committed: "the guest is the destination's; it must not run here again",
    aborted: 'the guest stayed here, and may run here unless another migration has moved it since',
    pending: 'in doubt: keep the guest stopped here, and ask the destination',
    'in-doubt':
      'the journal is damaged and cannot tell: keep the guest stopped here, and ask the destination',
    none: 'the journal does not have it: if id and journal are the right ones, it had not committed, and the guest is here',
  },
  destination: {
    committed: 'the guest is here',
    aborted: "the guest is the source's; it must not run here",
    pending:
      'prepared, and not told to commit: the guest must not run here, and the source can be told "aborted"',
    'in-doubt':
      'the journal is damaged and cannot tell: do not start the guest here, and tell the source nothing, before ' +
      "the source's journal has been read",
    none: 'the journal does not have it: if id and journal are the right ones, it was not prepared, and the guest must not run here',
  },
};

/** What an empty journal means after a process has died. Lines missing whole from the end of the file do not show. */
export const NOTHING: Readonly<Record<Side, string>> = {
  source: ': a send that died with this journal, unless its disk has lost something, had not committed',
  destination: '',
};

/** A `send` that was killed may have committed: decided migrations are as telling as undecided ones. */
export const DEAD_SEND =
  'a send that died is one of these; if it is not listed, it had not committed, and its guest is here, unless the disk has lost something\n';

/** Printed in place of these if lines are damaged. */
export const MAY_BE_MORE = 'the journal is damaged and cannot tell whether there were other migrations';
