import { HtabStateError } from '../../base/errors.js';
import { foreignText } from '../../base/foreign-text.js';
import { sleep } from '../../base/time.js';
import { fieldsOf, textOf } from '../fields.js';
import { checkConnection, type QmpConnection } from './connection.js';

/** What `query-migrate` says when no migration runs: any other word, also one of a later QEMU, is a migration that does. */
const AT_REST: ReadonlySet<string> = new Set(['none', 'completed', 'failed', 'cancelled']);
const POLL_MS = 10;
/** Longest time for a migration to end once it is cancelled, in ms. */
const CANCEL_MS = 10_000;

/** A migration of a QEMU, as `query-migrate` tells. */
export interface MigrationState {
  /** `none` if there has been none. */
  readonly status: string;
  /** One that ends is told apart by it from the one before. */
  readonly mark: string;
  /** Why it has failed, where QEMU says it. */
  readonly reason: string;
}

export async function migrationStateOf(qmp: QmpConnection): Promise<MigrationState> {
  const info = fieldsOf(await qmp.execute('query-migrate'));
  const status = foreignText(textOf(info['status'])) || 'none';
  const { transferred } = fieldsOf(info['ram']);
  const mark = JSON.stringify([status, info['total-time'], info['downtime'], transferred]);
  return { status, mark, reason: foreignText(textOf(info['error-desc'])) };
}

export function isAtRest({ status }: Pick<MigrationState, 'status'>): boolean {
  return AT_REST.has(status);
}

/**
 * Waits until a migration has ended.
 *
 * @param limitMs longest time
 * @returns the last state; of a migration that still runs after that, this
 */
export async function migrationEnd(qmp: QmpConnection, limitMs: number): Promise<MigrationState> {
  const limit = performance.now() + limitMs;
  for (;;) {
    const state = await migrationStateOf(qmp);
    if (isAtRest(state) || performance.now() > limit) return state;
    await sleep(POLL_MS);
  }
}

/**
 * Refuses to go on while QEMU migrates its guest, in either direction. A reader of the table takes changes from the
 * migration: its destination gets a wrong table, and QEMU says "completed".
 *
 * @throws HtabStateError `in-use` if a migration runs
 * @throws HtabUnavailableError `refused` if QEMU does not say
 */
export async function refuseWhileMigrating(connection: QmpConnection): Promise<void> {
  await stateAtRest(connection);
}

async function stateAtRest(connection: QmpConnection): Promise<MigrationState> {
  checkConnection(connection);
  const state = await migrationStateOf(connection);
  if (isAtRest(state)) return state;
  throw new HtabStateError(
    'in-use',
    `the QEMU at ${connection.path} migrates the guest (${state.status}): a reader would take changes of the table away ` +
      'from the destination; wait for its end, or end it (migrate_cancel)',
  );
}

/**
 * Keeps a reader of the table and QEMU's own migrations apart: refuses to begin while one runs, and gives a check to be called
 * before and after every read.
 *
 * The check cancels a migration that has begun since, because its destination would get a wrong table: the guest stays here,
 * and can be migrated again once nothing reads its table. QEMU's capability `events` is switched on for it, and stays on.
 *
 * @returns the check. It throws HtabStateError `in-use` once there has been a migration, also one that could not be cancelled
 *   any more: its message says which; HtabUnavailableError `refused` if QEMU does not say
 * @throws as {@link refuseWhileMigrating}
 *
 * @example
 * const check = await guardAgainstMigration(qmp);
 * const table = await readTable(guardedHandle(handle, check), { order });
 */
export async function guardAgainstMigration(connection: QmpConnection): Promise<() => Promise<void>> {
  await refuseWhileMigrating(connection);
  // One that fails or is cancelled between two checks leaves no other trace than its events.
  await connection.execute('migrate-set-capabilities', {
    capabilities: [{ capability: 'events', state: true }],
  });
  let began = false;
  connection.onEvent(({ name, data }) => {
    began ||= name === 'MIGRATION' && !isAtRest({ status: textOf(data['status']) });
  });
  const { mark } = await stateAtRest(connection);
  return async () => {
    const state = await migrationStateOf(connection);
    if (state.mark === mark && !began) return;
    throw endedError(isAtRest(state) ? state : await cancelled(connection));
  };
}

async function cancelled(qmp: QmpConnection): Promise<MigrationState> {
  // It may have ended by itself meanwhile; what it came to is what counts.
  await qmp.execute('migrate_cancel').catch(() => undefined);
  return migrationEnd(qmp, CANCEL_MS);
}

function endedError({ status }: MigrationState): HtabStateError {
  const began = 'QEMU began to migrate the guest while its table was read';
  const isOver = status === 'cancelled' || status === 'failed';
  return new HtabStateError(
    'in-use',
    isOver
      ? `${began}: the migration was ended (${status}), as its destination would have got a wrong table. The guest stays ` +
          'here; migrate it again now that nothing reads its table'
      : `${began}, and the migration could not be cancelled (${status}): the guest at its destination may have a wrong ` +
          'table. Stop it there at once, and ask both QEMUs (query-status) before you let one run',
  );
}
