import { HtabStateError } from '../../base/errors.js';
import { channels, type StateEvent } from '../../migration/events.js';
import type { DestinationRest } from '../../migration/rest.js';
import { requestDestinationRest } from '../../migration/vmm-rest.js';
import { describeError } from '../errors/describe-error.js';
import { MeasuredDestinationRest } from '../guest/moved-rest.js';
import type { Reporter } from '../report/reporter.js';
import type { Resources } from '../resources.js';
import type { Place } from '../table/place.js';

/** Whether all else of a guest is taken beside its table. */
export interface DecidedRest {
  /** Undefined if a table is taken alone. */
  readonly rest: MeasuredDestinationRest | undefined;
  /**
   * Makes sure of it once a source has come, where the VMM could not be asked before.
   *
   * @throws HtabStateError `busy` if the VMM takes more than a table after all
   */
  readonly confirm: () => Promise<void>;
}

/**
 * Decides whether all else of a guest is taken, and says so.
 *
 * @param hooks the commands that take it, if they are given
 * @param timeoutMs longest time for one answer of the VMM
 */
export async function decideDestinationRest(
  place: Place,
  hooks: DestinationRest | undefined,
  timeoutMs: number,
  reporter: Reporter,
): Promise<DecidedRest> {
  if (hooks !== undefined) {
    reporter.say('memory and devices: taken by --on-accept', 'rest', { moves: true });
    return decided(hooks);
  }
  if (place.kind !== 'socket') return decided(undefined);
  const ask = (): Promise<DestinationRest | undefined> => requestDestinationRest(place.path, { timeoutMs });
  let rest: DestinationRest | undefined;
  try {
    rest = await ask();
  } catch (error) {
    // Its guest may have gone on and ended long ago; how it came here is still answered.
    const message = describeError(error);
    reporter.say(`memory and devices: the VMM cannot be asked: ${message}`, 'rest', { message });
    return { rest: undefined, confirm: async () => refuse(await ask()) };
  }
  if (rest === undefined) {
    const text = 'memory and devices: not taken by the VMM, which refuses can-accept';
    reporter.say(text, 'rest', { moves: false });
  } else {
    reporter.say('memory and devices: taken by the VMM', 'rest', { moves: true });
  }
  return decided(rest);
}

function decided(rest: DestinationRest | undefined): DecidedRest {
  return { rest: rest && new MeasuredDestinationRest(rest), confirm: () => Promise.resolve() };
}

function refuse(rest: DestinationRest | undefined): void {
  if (rest === undefined) return;
  throw new HtabStateError(
    'busy',
    'the VMM takes memory and devices too, and could not be asked when this command began; start the command again',
  );
}

/**
 * A rest that is discarded only once a source has come. A command that was started again to answer how the last migration
 * ended must not throw away the guest that it has brought.
 *
 * @param resources takes what ends this
 */
export function sparingRest(rest: DestinationRest, resources: Resources): DestinationRest {
  let hasCome = false;
  const onState = ({ side }: StateEvent): void => {
    hasCome ||= side === 'destination';
  };
  channels.state.subscribe(onState);
  resources.add(() => {
    channels.state.unsubscribe(onState);
  });
  return {
    accept: rest.accept,
    run: rest.run,
    discard: async (reason) => {
      if (hasCome) await rest.discard(reason);
    },
  };
}
