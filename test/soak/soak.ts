import { Usage, type Watched } from './usage.js';

/** What a round did, each thing as often as it did it. */
export type Counts = Readonly<Record<string, number>>;

export interface SoakOptions {
  readonly seed: number;
  readonly minutes: number;
  /** Ends the soak earlier, after so many moves. */
  readonly moves: number;
  /** Does what the seed says, and leaves nothing open. `moved` counts the guests that have moved. */
  readonly round: (seed: number) => Promise<Counts>;
  /** Called after each round: collects the garbage of each process first. */
  readonly watched: () => Promise<readonly Watched[]>;
  /** Command that makes one round again. */
  readonly again: (seed: number) => string;
  readonly say: (line: string) => void;
}

const HOUR_MS = 3_600_000;
/** A shorter soak has so many periods all the same: their memory is compared. */
const PERIODS = 6;

/**
 * Makes rounds until the time is over or enough guests have moved. Each has the next seed.
 *
 * @throws Error at the first failure, with the command that makes the round again
 */
export async function soak({ round, watched, again, say, ...options }: SoakOptions): Promise<void> {
  const begun = performance.now();
  const endsAt = begun + options.minutes * 60_000;
  const periodMs = Math.min(HOUR_MS, (endsAt - begun) / PERIODS);
  const usages = new Map<string, Usage>();
  const counts: Record<string, number> = { moved: 0 };
  let { seed } = options;
  const tell = (): void => {
    const hours = ((performance.now() - begun) / HOUR_MS).toFixed(2);
    const done = Object.entries(counts).map(([name, count]) => `${name} ${count}`);
    const taken = [...usages.values()].map((usage) => usage.endPeriod());
    say([`${hours} h, seeds ${options.seed} to ${seed}`, ...done, ...taken].join('; '));
  };
  try {
    for (let periodEndsAt = begun + periodMs; ; seed++) {
      for (const [name, count] of Object.entries(await round(seed)))
        counts[name] = (counts[name] ?? 0) + count;
      for (const each of await watched()) {
        const usage = usages.get(each.name) ?? new Usage(each);
        usages.set(each.name, usage);
        await usage.look(each);
      }
      const now = performance.now();
      if (now >= endsAt || counts['moved']! >= options.moves) break;
      if (now < periodEndsAt) continue;
      periodEndsAt += periodMs;
      tell();
    }
    tell();
  } catch (error) {
    throw new Error(`seed ${seed}, after ${counts['moved']} moves; once more: ${again(seed)}`, {
      cause: error,
    });
  }
  say(`${counts['moved']} moves, no failure`);
}
