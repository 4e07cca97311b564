import { expect } from 'vitest';
import { moveGuest } from './move-guest.js';
import { startGuest } from './test-guest.js';
import { TestRest, type TestRestOptions } from './test-rest.js';

type MoveOptions = NonNullable<Parameters<typeof moveGuest>[1]>;

/** Moves a whole guest over a network, until both sides are done. */
export async function moveWhole(options: TestRestOptions = {}, more: MoveOptions = {}) {
  const guest = await startGuest(500);
  const rest = new TestRest(options);
  const ended = await moveGuest(guest, {
    ...more,
    send: { rest: rest.source, ...more.send },
    receive: { rest: rest.destination, ...more.receive },
  });
  expect(rest.violations).toEqual([]);
  return { ...ended, guest, rest };
}
