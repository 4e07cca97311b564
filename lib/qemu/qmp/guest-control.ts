import type { GuestCallbacks } from '../../precopy/guest-options.js';
import { checkConnection, type QmpConnection } from './connection.js';
import { runStateOf, stands, stateError } from './run-state.js';

/**
 * Stops a guest and lets it run again through a monitor of QEMU; `sendHpt` takes it as it is, `saveSnapshot` as `guest`. Its
 * functions are bound.
 *
 * A guest that stood still before is left so. One that cannot be let run is not: it may run where it was migrated to.
 */
export interface QmpGuest extends GuestCallbacks {
  /** Whether the guest stood still before the last `pause`. */
  readonly pausedBefore: boolean;
}

/**
 * Controls the guest of a QEMU.
 *
 * @example
 * using qmp = await connectQmp('/run/qemu/guest.qmp');
 * await saveSnapshot(handle, 'guest.hpt', { order: 24, guest: qmpGuestControl(qmp) });
 */
export function qmpGuestControl(connection: QmpConnection): QmpGuest {
  checkConnection(connection);
  return new Guest(connection);
}

class Guest implements QmpGuest {
  readonly #qmp: QmpConnection;
  /** `stop` was sent, and `cont` has not been answered. */
  #stopped = false;
  #pausedBefore = false;

  constructor(qmp: QmpConnection) {
    this.#qmp = qmp;
  }

  get pausedBefore(): boolean {
    return this.#pausedBefore;
  }

  readonly pause = async (): Promise<void> => {
    const state = await runStateOf(this.#qmp);
    this.#pausedBefore = stands(state);
    if (this.#pausedBefore) return;
    if (state !== 'running') throw stateError('stopped', state);
    this.#stopped = true;
    await this.#qmp.execute('stop');
  };

  readonly resume = async (): Promise<void> => {
    if (!this.#stopped) return;
    // QEMU answers in order: it has done a `stop` that was given up.
    const state = await runStateOf(this.#qmp);
    if (state === 'paused') await this.#qmp.execute('cont');
    else if (state !== 'running') throw stateError('let run', state);
    this.#stopped = false;
  };
}
