import { expect, test } from 'vitest';
import { readRecording, recordings, replayRandom } from './replay.js';

test.each(recordings('random'))('the emulated kernel answers %s as the real one did', async (name) => {
  const { compared, mismatches } = await replayRandom(readRecording(name));
  console.log(`${name}: ${compared} outcomes compared, ${mismatches.length} mismatches`);
  expect(mismatches).toEqual([]);
});
