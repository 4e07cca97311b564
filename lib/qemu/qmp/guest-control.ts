import type { GuestCallbacks } from '../../precopy/guest-options.js';
import { checkConnection, connectQmp, type QmpConnection } from './connection.js';
import { refuseWhileMigrating } from './migration-guard.js';
import { elsewhereError, mayRunElsewhere, runStateOf, stands, stateError } from './run-state.js';

/**
 * Stops a guest and lets it run again through a monitor of QEMU: `guest` of `saveSnapshot`, and among the options of `sendHpt`
 * as `...guest`. Its functions are bound.
 *
 * A guest that stood still before is left so. One that has failed, or may run elsewhere, is neither stopped nor let run:
 * `pause` rejects with `HtabStateError` `busy`, `resume` with `ERR_HTAB_IN_DOUBT` where someone has migrated it meanwhile.
 */
export interface QmpGuest extends GuestCallbacks {
  /** Whether the guest stood still before the last `pause`. */
  readonly pausedBefore: () => boolean;
  readonly confirmStopped: () => Promise<void>;
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

  readonly pausedBefore = (): boolean => this.#pausedBefore;

  readonly pause = async (): Promise<void> => {
    const state = await runStateOf(this.#qmp);
    this.#pausedBefore = stands(state);
    if (this.#pausedBefore) return;
    if (state !== 'running') throw stateError('stopped', state);
    this.#stopped = true;
    await this.#qmp.execute('stop');
  };

  readonly confirmStopped = async (): Promise<void> => {
    await refuseWhileMigrating(this.#qmp);
    const state = await runStateOf(this.#qmp);
    if (!stands(state)) throw stateError('moved', state);
  };

  readonly resume = async (): Promise<void> => {
    if (!this.#stopped) return;
    try {
      await letRun(this.#qmp);
    } catch (error) {
      if (!this.#qmp.ended.aborted) throw error;
      // A monitor takes another connection: the guest must not stay stopped because this one has ended.
      using again = await connectQmp(this.#qmp.path);
      await letRun(again);
    }
    this.#stopped = false;
  };
}

/** Lets a guest run that was stopped here. QEMU answers in order: it has done a `stop` that was given up. */
async function letRun(qmp: QmpConnection): Promise<void> {
  const state = await runStateOf(qmp);
  if (mayRunElsewhere(state)) throw elsewhereError(qmp, state);
  if (state === 'paused') await qmp.execute('cont');
  else if (state !== 'running') throw stateError('let run', state);
}
