import { readFileSync } from 'node:fs';
import { expect } from 'vitest';
import type { Ended } from './processes.js';

/** A guest with some two thousand entries; it stands still, so that hooks can stand for its VMM. */
export const GUEST = ['--emulated=order=20'];
/** One that works meanwhile. */
export const BUSY_GUEST = ['--emulated=order=20,rate=2000'];
export const ANY_PORT = 'tcp://127.0.0.1:0';
/** The first pass takes some ten seconds at this rate; no test waits for its end. */
export const SLOW = ['--bandwidth', '5k'];
export const NO_RETRY = ['--reconnect-ms', '0'];

/** Hooks that note in this file what they do, and do something more in their first pause. */
export function hooks(
  file: string,
  atPause = 'true',
  atResume = 'true',
): { args: string[]; log: () => string[] } {
  return {
    args: [
      '--on-pause',
      `echo paused >> ${file}; ${atPause}`,
      '--on-resume',
      `echo resumed >> ${file}; ${atResume}`,
    ],
    log: () => readFileSync(file, 'utf8').trimEnd().split('\n'),
  };
}

/** The last event, after which neither side waits for anything. */
export function digestOf({ events }: Ended): unknown {
  expect(events.at(-1)!.event).toBe('digest');
  return events.at(-1)!['digest'];
}

export function expectMoved(sent: Ended, received: Ended): void {
  expect(received).toMatchObject({ code: 0, stderr: '' });
  expect(sent).toMatchObject({ code: 0, stderr: '' });
  expect(digestOf(sent)).toMatch(/^[0-9a-f]{64}$/);
  expect(digestOf(received)).toBe(digestOf(sent));
  expect(received.done).toMatchObject({
    migrationId: sent.done!['migrationId'],
    validEntries: sent.done!['validEntries'],
    order: 20,
  });
}

export function errorOf({ events }: Ended): string {
  const failed = events.at(-1)!;
  expect(failed.event).toBe('failed');
  return String(failed['message']);
}
