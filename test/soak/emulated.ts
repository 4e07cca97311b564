// Guests of one emulated host that are moved to another, many at once. Argument: settings as JSON.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { SeededRandom } from '../../lib/base/random.js';
import { openJournal } from '../../lib/migration/journal/journal-file.js';
import { SoakGuest } from './guest.js';
import { Host } from './host.js';
import { soak, type SoakOptions } from './soak.js';
import { processOf } from './usage.js';

const GUESTS = 20;
/** Moves of each guest in a round. */
const MOVES = 10;
/** In some rounds the destination is a process of its own, which is killed after some of these frames. */
const KILLED = 1 / 6;
const FRAMES = 1200;

const settings = JSON.parse(process.argv[2] ?? '') as Pick<SoakOptions, 'seed' | 'minutes' | 'moves'>;
const folder = mkdtempSync(join(tmpdir(), 'soak-'));
const journals = { source: join(folder, 'source'), destination: join(folder, 'destination') };

/** Guests that live for one round, so that its seed alone decides what they do and what is done to them. */
async function round(lasting: Host, seed: number): Promise<Record<string, number>> {
  const random = new SeededRandom(seed);
  const counts: Record<string, number> = {};
  const count = (name: string): void => void (counts[name] = (counts[name] ?? 0) + 1);
  await using journal = await openJournal(journals.source);
  await using mortal = random.chance(KILLED) ? await Host.start(journals.destination) : undefined;
  const host = mortal ?? lasting;
  let killAfter = mortal === undefined ? Infinity : random.below(FRAMES);
  const onFrame = (): void => {
    if (killAfter-- !== 0) return;
    count('kills');
    host.kill();
  };
  const live = async (number: number): Promise<void> => {
    const guest = await SoakGuest.boot(seed * GUESTS + number, host, journal, onFrame);
    for (let move = 0; move < MOVES; move++) {
      const { fault, outcome, wasInDoubt } = await guest.move();
      count(outcome);
      count(`${fault}: ${wasInDoubt ? 'in doubt, ' : ''}${outcome}`);
    }
  };
  await Promise.all(Array.from({ length: GUESTS }, (_, number) => live(number)));
  return counts;
}

try {
  await using host = await Host.start(journals.destination);
  await soak({
    ...settings,
    round: (seed) => round(host, seed),
    watched: async () => {
      await host.collect();
      globalThis.gc!();
      return [
        processOf('sources', process.pid, journals.source),
        processOf('destination', host.pid, journals.destination),
      ];
    },
    again: (seed) => `npm run soak -- --emulated --seed ${seed} --moves 1`,
    say: (line) => process.stdout.write(`${line}\n`),
  });
} catch (error) {
  console.error(error);
  process.exitCode = 1;
} finally {
  rmSync(folder, { recursive: true });
}
