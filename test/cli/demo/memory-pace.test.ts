import { expect, test } from 'vitest';
import { MemoryPace } from '../../../lib/cli/demo/memory-pace.js';
import { SideBySide } from '../../../lib/cli/demo/side-by-side.js';
import type { MemoryProgress } from '../../../lib/testing/agent/rounds.js';
import { captureOutput } from '../capture.js';

const ROUND: MemoryProgress = {
  round: 1,
  live: true,
  pages: 610,
  sentPages: 610,
  zeroPages: 0,
  bytes: 40_000_000,
  durationMs: 1000,
  complete: true,
};

test('a guest takes as many steps as it should while the copy of its memory keeps up, and fewer otherwise', () => {
  const pace = new MemoryPace(8000, () => undefined);
  expect(pace.stepsPerSecond).toBe(8000);
  pace.take(ROUND);
  expect(pace.stepsPerSecond).toBe(8000);
  pace.take({ ...ROUND, complete: false, durationMs: 20_000 });
  expect(pace.stepsPerSecond).toBe(400);
  // Its time is that of the confirmation.
  pace.take({ ...ROUND, bytes: 65_536, durationMs: 10_000 });
  expect(pace.stepsPerSecond).toBe(400);
});

test('a guest whose memory never comes near is stopped after 16 rounds, and the demo says so once', () => {
  const said: string[] = [];
  const pace = new MemoryPace(8000, (text) => said.push(text));
  for (let round = 1; round <= 16; round++) {
    expect(pace.stopMs(Infinity)).toBe(Infinity);
    expect(pace.stopMs(20)).toBe(20);
    pace.take({ ...ROUND, round });
  }
  expect([pace.stopMs(900.5), pace.stopMs(700), pace.stopMs(20)]).toEqual([300, 300, 20]);
  expect(said).toEqual([
    'after 16 rounds the memory would still need a stop of 901 ms, not 300: the guest is stopped all the same. ' +
      'This machine is too busy for it: give the guest fewer steps with --rate',
  ]);
});

test('a round that sends more than it began with is never beyond 100 %', () => {
  const { stderr } = captureOutput({ terminal: true });
  const display = new SideBySide(stderr);
  display.memory({ ...ROUND, sentPages: 1123, complete: false });
  display.stop();
  expect(stderr.text).toContain('memory round 1 99%');
});
