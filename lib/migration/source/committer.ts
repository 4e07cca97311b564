import type { GuestControl } from '../../precopy/guest-control.js';
import { inDoubtError, migrationError } from '../errors.js';
import type { Decision } from '../journal/journal.js';
import { askOutcome } from '../outcome.js';
import type { StateMachine } from '../state-machine.js';
import type { SourceState } from '../states.js';
import type { Connection } from '../wire/connection.js';
import type { Dialer } from '../wire/dialer.js';
import type { SendReport } from './send-report.js';
import type { SendSettings } from './send-settings.js';

/** Commits a migration at the source, and finds out what has come of it. */
export class Committer {
  readonly #state: StateMachine<SourceState>;
  readonly #guest: GuestControl;
  readonly #dialer: Dialer;
  readonly #settings: Pick<SendSettings, 'migrationId' | 'timeoutMs' | 'signal'>;

  constructor(
    state: StateMachine<SourceState>,
    guest: GuestControl,
    dialer: Dialer,
    settings: Pick<SendSettings, 'migrationId' | 'timeoutMs' | 'signal'>,
  ) {
    this.#state = state;
    this.#guest = guest;
    this.#dialer = dialer;
    this.#settings = settings;
  }

  /**
   * The commit: from its first byte on only the destination can say where the guest is.
   *
   * @returns once the guest is the destination's; when it rejects the guest runs here, or it is in doubt
   */
  async commit(connection: Connection, digest: string): Promise<SendReport['acknowledged']> {
    const { timeoutMs } = this.#settings;
    connection.ignoreSignal();
    this.#state.become('committing');
    let failure: unknown;
    try {
      await connection.send({ type: 'commit' });
      // A destination that only works on its decision can be asked for it as well.
      await connection.expect('committed', timeoutMs);
      return 'directly';
    } catch (error) {
      failure = error;
    }
    await connection.finish();
    // A destination says `abort` only over a connection whose commit it has not decided on and never will: states.ts.
    // It has not taken the guest; only silence leaves a doubt.
    if (!connection.peerGaveUp) {
      if ((await this.#ask(digest, failure)) === 'committed') return 'asked';
      failure = migrationError(
        'the connection broke at the commit, and the destination has not taken the guest',
        failure,
      );
    }
    await this.#guest.resume(failure);
    throw failure;
  }

  /** Asks until there is an answer, or the limit is reached. */
  async #ask(digest: string, failure: unknown): Promise<Decision> {
    this.#state.become('asking');
    const { migrationId, timeoutMs, signal } = this.#settings;
    const dialer = this.#dialer.forAsking();
    let last = failure;
    try {
      while (await dialer.backOff(last, signal)) {
        try {
          const channel = await dialer.connect(signal);
          const outcome = await askOutcome(channel, migrationId, { digest, timeoutMs, signal });
          if (outcome !== 'unknown') return outcome;
          last = migrationError('the destination does not know this migration');
          break;
        } catch (error) {
          last = error;
        }
      }
    } catch (reason) {
      last = reason;
    }
    this.#state.become('in-doubt');
    throw inDoubtError(
      `the commit of migration ${migrationId} was sent and not acknowledged: the guest may run at the destination`,
      'keep it stopped here until you have asked the destination (kvm-htab resolve)',
      last,
    );
  }
}
