import { expect, test } from 'vitest';
import { replayRandom } from './random.js';
import { readRecording, recordings } from './recording.js';
import { replayScripted } from './scripted.js';

test.each(recordings('random'))(
  'the emulated kernel answers the random sequences of %s as the real one',
  async (name) => {
    const comparison = await replayRandom(readRecording(name));
    console.log(comparison.summary(name));
    expect(comparison.mismatches).toEqual([]);
    expect(comparison.compared).toBeGreaterThan(80_000);
  },
);

test.each(recordings('scripted'))(
  'the emulated kernel answers the fixed cases of %s as the real one',
  async (name) => {
    const comparison = await replayScripted(readRecording(name));
    console.log(comparison.summary(name));
    expect(comparison.mismatches).toEqual([]);
    expect(comparison.compared).toBeGreaterThan(1_000);
  },
);
