import { setImmediate } from 'node:timers/promises';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';

setFlagsFromString('--expose-gc');
const gc = runInNewContext('gc') as () => void;

/** Collects garbage, and lets finalizers run, until `done` or for a good number of rounds. */
export async function collectGarbage(done: () => boolean): Promise<void> {
  for (let round = 0; round < 50 && (round === 0 || !done()); round++) {
    gc();
    await setImmediate();
  }
}
