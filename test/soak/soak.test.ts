import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { soak, type SoakOptions } from './soak.js';
import { Usage, type Taken } from './usage.js';

const taken: Taken = { descriptors: 20, memoryBytes: 100 << 20, journalBytes: 1000 };
const watched = (more: Partial<Taken> = {}) => ({ name: 'agent', take: () => ({ ...taken, ...more }) });

describe('a soak', () => {
  const lines: string[] = [];
  const options: SoakOptions = {
    seed: 7,
    minutes: 60,
    moves: 25,
    round: () => Promise.resolve({ moved: 10, kills: 1 }),
    watched: () => Promise.resolve([watched()]),
    again: (seed) => `again ${seed}`,
    say: (line) => lines.push(line),
  };

  test('ends once enough guests have moved, and says what was done and what each process takes', async () => {
    await soak(options);
    expect(lines).toEqual([
      '0.00 h, seeds 7 to 9; moved 30; kills 3; agent: 20 descriptors, 102400 KiB, journal 1 KiB',
      '30 moves, no failure',
    ]);
  });

  test('stops at a round that fails, and says how to make it again', async () => {
    const round = (seed: number) =>
      seed === 8 ? Promise.reject(new Error('a guest is lost')) : options.round(seed);
    const failure = {
      message: 'seed 8, after 10 moves; once more: again 8',
      cause: { message: 'a guest is lost' },
    };
    await expect(soak({ ...options, round })).rejects.toMatchObject(failure);
  });
});

describe('a process that is watched', () => {
  beforeEach(() => vi.useFakeTimers());
  afterEach(() => vi.useRealTimers());

  test('may close descriptors a little later', async () => {
    const usage = new Usage(watched());
    let descriptors = 25;
    const looking = usage.look({ name: 'agent', take: () => ({ ...taken, descriptors: descriptors-- }) });
    await vi.runAllTimersAsync();
    await looking;
    expect(descriptors).toBe(19);
  });

  test('must not keep one that a round has opened', async () => {
    const usage = new Usage(watched());
    const looking = expect(usage.look(watched({ descriptors: 21 }))).rejects.toThrow(
      'agent has 21 descriptors, but had 20 after the first round',
    );
    await vi.runAllTimersAsync();
    await looking;
  });

  test('must not let its journal grow', async () => {
    const usage = new Usage(watched());
    await expect(usage.look(watched({ journalBytes: 3 << 20 }))).rejects.toThrow('the journal of agent');
  });

  test('is measured by the least memory of each period after the first', async () => {
    const usage = new Usage(watched());
    const period = async (...megabytes: number[]): Promise<string> => {
      for (const each of megabytes) await usage.look(watched({ memoryBytes: each << 20 }));
      return usage.endPeriod();
    };
    await period(50);
    await period(200, 120);
    expect(await period(300, 152)).toContain('155648 KiB');
    await expect(period(153)).rejects.toThrow('agent uses at least 160432128 bytes of memory');
  });
});
