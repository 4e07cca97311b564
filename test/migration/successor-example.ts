// The successor of a destination's agent, as the documentation has it. rest-deaths.test.ts runs it.
import type { Journal } from '../../lib/index.js';

/** A guest that was expected on this host. */
interface Arrival {
  migrationId: string;
  hasRun(): Promise<boolean>; // since it came: ask its VMM, or keep a mark beside what has come of it
  run(): Promise<void>;
  discard(): Promise<void>;
}

/** Settles what a process that died has left of the guests that it expected. */
export async function settleArrivals(journal: Journal, arrivals: Iterable<Arrival>) {
  for (const arrival of arrivals) {
    const { migrationId } = arrival;
    const entry = await journal.find('destination', migrationId);
    const pending = entry?.state === 'pending';
    // A commit that has not been decided on by now is refused from here on.
    const state = pending ? await journal.decide('destination', migrationId, 'aborted') : entry?.state;
    if (state !== 'committed') await arrival.discard();
    else if (!(await arrival.hasRun())) await arrival.run();
  }
}
