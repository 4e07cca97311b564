import { forOption } from '../../base/for-option.js';
import type { SourceRest } from '../../migration/rest.js';
import { requestSourceRest } from '../../migration/vmm-rest.js';
import { MeasuredSourceRest } from '../guest/moved-rest.js';
import type { Reporter } from '../report/reporter.js';
import type { Place } from '../table/place.js';

/**
 * Decides, before anything is copied, whether all else of the guest moves beside its table, and says so.
 *
 * @param hooks the commands that move it, if they are given
 * @param timeoutMs longest time for one answer of the VMM
 * @returns undefined if its table moves alone
 */
export async function decideSourceRest(
  place: Place,
  hooks: SourceRest | undefined,
  timeoutMs: number,
  reporter: Reporter,
): Promise<MeasuredSourceRest | undefined> {
  if (hooks !== undefined) {
    reporter.say('memory and devices: moved by --on-finish', 'rest', { moves: true });
    return new MeasuredSourceRest(hooks);
  }
  if (place.kind !== 'socket') return undefined;
  const rest = await forOption('htabSocket', requestSourceRest(place.path, { timeoutMs }));
  if (rest === undefined) {
    reporter.say('memory and devices: not moved by the VMM, which refuses rest-ms', 'rest', { moves: false });
    return undefined;
  }
  reporter.say('memory and devices: moved by the VMM', 'rest', { moves: true });
  return new MeasuredSourceRest(rest);
}
