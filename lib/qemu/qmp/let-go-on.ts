import { bothErrors } from '../../base/both-errors.js';
import { HtabError } from '../../base/errors.js';
import { sleep } from '../../base/time.js';
import type { QmpConnection } from './connection.js';
import { isAtRest, migrationEnd } from './migration-guard.js';
import { elsewhereError, mayRunElsewhere, runStateOf } from './run-state.js';

/** Longest time for QEMU to end a migration whose connection is closed, and to let the guest run, in ms. */
const END_MS = 10_000;
const POLL_MS = 10;

/**
 * Waits until a guest whose migration is thrown away is as it was before. QEMU lets it run by itself. One that QEMU calls
 * migrated is never let run: someone else's migration may have come between, and the guest may run at its destination.
 *
 * @param before state of the guest before the migration
 * @param error the failure so far, reported with a failure to let it run
 * @returns its state now; not `running` of a guest that ran only if someone else has stopped it, or it has failed
 * @throws HtabError `ERR_HTAB_GUEST_STOPPED` if it is not known to run, `ERR_HTAB_IN_DOUBT` if it may run elsewhere
 */
export async function letGoOn(qmp: QmpConnection, before: string, error?: unknown): Promise<string> {
  const { status, state } = await endOf(qmp).catch((reason: unknown) => {
    throw notRunningError(error, reason);
  });
  if (before !== 'running' || state === 'running') return state;
  if (status === 'completed' || mayRunElsewhere(state)) throw elsewhereError(qmp, state, error);
  return state;
}

interface End {
  /** Of the last migration. */
  readonly status: string;
  /** Of the guest. */
  readonly state: string;
}

/** Its connection is closed, so ours ends by itself: a migration that goes on is someone else's, and is left alone. */
async function endOf(qmp: QmpConnection): Promise<End> {
  const migration = await migrationEnd(qmp, END_MS);
  const state = await settledState(qmp);
  if (isAtRest(migration) || state === 'running') return { status: migration.status, state };
  throw new Error(`a migration does not end (${migration.status})`);
}

function notRunningError(error: unknown, reason: unknown): HtabError {
  return new HtabError(
    'ERR_HTAB_GUEST_STOPPED',
    'QEMU does not say that the guest runs again: look at its query-status and query-migrate. If it says postmigrate, ' +
      'make sure that the guest runs nowhere else, then let it run by cont',
    { cause: error === undefined ? reason : bothErrors(error, reason) },
  );
}

/** QEMU says that a migration has failed just before it lets the guest run. */
async function settledState(qmp: QmpConnection): Promise<string> {
  const limit = performance.now() + END_MS;
  for (;;) {
    const state = await runStateOf(qmp);
    if (state !== 'finish-migrate') return state;
    if (performance.now() > limit) throw new Error('the guest does not leave the state finish-migrate');
    await sleep(POLL_MS);
  }
}
