import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { createProgressDisplay, createReceiveDisplay } from '../../../lib/cli/report/progress.js';
import type { ReceiveProgress } from '../../../lib/migration/destination/receive.js';
import type { PassProgress } from '../../../lib/precopy/pass-progress.js';
import { captureOutput } from '../capture.js';

const progress: PassProgress = {
  pass: 1,
  live: true,
  complete: false,
  scanned: 0.256,
  entries: 4321,
  bytes: 104_000,
  bytesPerSecond: 159_800,
  changingEntries: undefined,
};

beforeEach(() => vi.useFakeTimers());
afterEach(() => vi.useRealTimers());

test('without a terminal there is a line a second, and one for every complete pass', () => {
  const { stderr } = captureOutput();
  const display = createProgressDisplay(stderr);
  display.update(progress);
  expect(stderr.text).toBe('');
  vi.advanceTimersByTime(1000);
  display.update(progress);
  expect(stderr.text).toBe('pass 1 25%: 4,321 entries, 104 kB, 160 kB/s\n');
  vi.advanceTimersByTime(999);
  display.update({ ...progress, scanned: 0.9 });
  display.update({ ...progress, pass: 2, complete: true, scanned: 1, changingEntries: 4321 });
  vi.advanceTimersByTime(1000);
  display.update({ ...progress, pass: 3, live: false, scanned: 0.5, entries: 7, changingEntries: 4321 });
  display.stop();
  expect(stderr.text.split('\n').slice(1)).toEqual([
    'pass 2 100%: 4,321 entries, 104 kB, 160 kB/s',
    'pass 3, guest stopped 50%: 7 entries, 104 kB, 160 kB/s, 4,321 changed in the last pass',
    '',
  ]);
});

test('on a terminal every pass has a bar, and the cursor is back at the end', () => {
  const { stderr } = captureOutput({ terminal: true });
  const signals = process.listenerCount('SIGINT');
  const display = createProgressDisplay(stderr);
  display.update(progress);
  expect(process.listenerCount('SIGINT')).toBe(signals);
  display.update({ ...progress, scanned: 1, complete: true });
  display.update({ ...progress, pass: 2, scanned: 0.5, changingEntries: 77 });
  display.stop();
  display.stop();
  expect(stderr.text).toContain('pass 1 [');
  expect(stderr.text).toContain('] 100%  4,321 entries  104 kB  160 kB/s');
  expect(stderr.text).toContain(
    'pass 2 [========--------] 50%  4,321 entries  104 kB  160 kB/s  77 changed in the last pass',
  );
  const hide = '\u001b[?25l';
  const show = '\u001b[?25h';
  expect(stderr.text.lastIndexOf(show)).toBeGreaterThan(stderr.text.lastIndexOf(hide));
});

const received: ReceiveProgress = { pass: 1, validEntries: 1000, bytes: 1500 };

test('at the destination there is one line that changes in its place on a terminal, which is left as it was', () => {
  const { stderr } = captureOutput({ terminal: true });
  const display = createReceiveDisplay(stderr);
  display.update(received);
  display.stop();
  display.stop();
  expect(stderr.text).toContain('pass 1: 1,000 entries, 1.50 kB received');
  expect(stderr.text).toContain('\u001b[?25l');
  expect(stderr.text).toContain('\u001b[?25h');
});

test('at the destination there is a line a second without a terminal', () => {
  const { stderr } = captureOutput();
  const display = createReceiveDisplay(stderr);
  display.update(received);
  vi.advanceTimersByTime(1000);
  display.update({ ...received, pass: 2 });
  display.update({ ...received, pass: 3 });
  display.stop();
  expect(stderr.text).toBe('pass 2: 1,000 entries, 1.50 kB received\n');
});
