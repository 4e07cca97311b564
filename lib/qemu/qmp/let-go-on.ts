import { bothErrors } from '../../base/both-errors.js';
import { HtabError } from '../../base/errors.js';
import { sleep } from '../../base/time.js';
import type { QmpConnection } from './connection.js';
import { isAtRest, migrationEnd } from './migration-guard.js';
import { runStateOf } from './run-state.js';

/** Longest time for QEMU to end a migration whose connection is closed, and to let the guest run, in ms. */
const END_MS = 10_000;
const POLL_MS = 10;

/**
 * Waits until a guest whose migration is thrown away is as it was before. QEMU lets it run by itself. One that QEMU calls
 * migrated is never let run: someone else's migration may have come between, and the guest may run at its destination.
 *
 * @param before state of the guest before the migration
 * @param error the failure so far, reported with a failure to let it run
 * @returns its state now; not `running` of a guest that ran only if someone else has stopped it meanwhile
 * @throws HtabError `ERR_HTAB_GUEST_STOPPED` if it is not known to run
 */
export async function letGoOn(qmp: QmpConnection, before: string, error?: unknown): Promise<string> {
  try {
    // Its connection is closed, so ours ends by itself: one that goes on is someone else's, and is left alone.
    const migration = await migrationEnd(qmp, END_MS);
    const state = await settledState(qmp);
    if (before === 'running' && state !== 'running') {
      if (migration.status === 'completed')
        throw new Error('QEMU calls a migration completed; ours was thrown away, so another client made it');
      if (!isAtRest(migration)) throw new Error(`a migration does not end (${migration.status})`);
    }
    return state;
  } catch (reason) {
    throw new HtabError(
      'ERR_HTAB_GUEST_STOPPED',
      'QEMU does not say that the guest runs again: look at its query-status and query-migrate. If it says postmigrate, ' +
        'make sure that the guest runs nowhere else, then let it run by cont',
      { cause: error === undefined ? reason : bothErrors(error, reason) },
    );
  }
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
