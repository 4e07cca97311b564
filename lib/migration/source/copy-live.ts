import type { GuestControl } from '../../precopy/guest-control.js';
import type { PassReport } from '../../precopy/pass-report.js';
import { nextStep, predictStopMs, type Progress } from '../../precopy/policy.js';
import type { Connection } from '../wire/connection.js';
import { limitError } from '../errors.js';
import { Pace } from './pace.js';
import type { PassSender } from './pass-sender.js';
import type { SendSettings } from './send-settings.js';

/**
 * Passes while the guest runs, until it can be stopped. While the rest of the guest is far from done they keep a
 * {@link Pace}, and none of them leads to the stop.
 *
 * @returns what the rest needs of the stop, in ms; 0 without one
 */
export async function copyLive(
  connection: Connection,
  sender: PassSender,
  { settings, guest }: { readonly settings: SendSettings; readonly guest: GuestControl },
  publish: (report: PassReport) => void,
): Promise<number> {
  if (guest.alreadyPaused) {
    // Once all is copied, the passes of the stop find what else writes to the table.
    publish(await sender.sendPass(true));
    return 0;
  }
  const { limits, signal } = settings;
  const pace = new Pace(connection, sender, settings);
  const counted: PassReport[] = [];
  let waited = false;
  for (;;) {
    const restMs = await pace.restMs();
    if (restMs > limits.downtimeMs) {
      if (!pace.isDue) {
        await pace.wait();
        waited = true;
        continue;
      }
    } else if (!waited) {
      counted.push(...sender.reports.slice(-1));
      const progress = { passes: sender.reports, counted, restMs, throttleSteps: guest.throttleSteps };
      const step = nextStep(progress, limits);
      if (step === 'pause') return restMs;
      if (step === 'give-up') throw notConvergingError(progress, settings);
      if (step === 'throttle') await guest.slowDown(signal);
    }
    const report = await sender.sendPass(true, waited);
    publish(report);
    await pace.scheduleNext(report);
    waited = false;
  }
}

/** Names the limits that keep the guest from being stopped; as its option the one that an agent sets first. */
function notConvergingError({ passes, counted, restMs }: Progress, { limits, rest }: SendSettings): Error {
  const { downtimeMs, maxChangedEntries, maxPasses } = limits;
  const changed = passes.at(-1)?.changedEntries;
  const tableMs = predictStopMs(passes);
  if (changed === undefined || tableMs === undefined) {
    return limitError('maxPasses', `too few passes to predict the stop: ${maxPasses}; allow more`);
  }
  const stopMs = Math.ceil(tableMs + restMs);
  const most = changed > maxChangedEntries ? ` (at most ${maxChangedEntries} may)` : '';
  const longest = stopMs > downtimeMs ? ` (at most ${downtimeMs} ms are allowed)` : '';
  const ofRest = rest === undefined ? '' : `, ${Math.ceil(restMs)} ms of that for the rest`;
  return limitError(
    stopMs > downtimeMs ? 'downtimeMs' : 'maxChangedEntries',
    `the table changes too fast: after ${counted.length} passes ${changed} entries still change${most}, ` +
      `and the guest would be stopped for ${stopMs} ms${ofRest}${longest}; allow more, or let the guest do less`,
  );
}
