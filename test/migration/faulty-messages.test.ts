import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import type { MessageType } from '../../lib/migration/wire/messages.js';
import { startGuest, useFakeTime } from './harness/test-guest.js';
import { FRAME_FAULTS, frameWire, type FrameFault } from './harness/faulty-wire.js';
import { TwoHosts } from './harness/two-hosts.js';

const FROM_SOURCE: readonly MessageType[] = ['hello', 'pass-begin', 'data', 'pass-end', 'prepare', 'commit'];
const FROM_DESTINATION: readonly MessageType[] = ['welcome', 'applied', 'prepared', 'committed'];

beforeEach(useFakeTime);
afterEach(() => vi.useRealTimers());

/** Moves a guest over a network on whose first connection one frame of this type suffers. */
async function moveWith(side: 'fromSource' | 'fromDestination', type: MessageType, fault: FrameFault) {
  let struck = false;
  const guest = await startGuest(300);
  const hosts = new TwoHosts({
    guest,
    wires: (number) =>
      number > 1
        ? {}
        : {
            [side]: frameWire(
              (seen) => seen === type,
              fault,
              () => (struck = true),
            ),
          },
  });
  const verdict = await hosts.run();
  expect(struck).toBe(true);
  return { verdict, hosts, guest };
}

describe.each(FRAME_FAULTS)('a message that is hit by: %s', (fault) => {
  test.each(FROM_SOURCE)('%s', async (type) => {
    const { verdict, hosts } = await moveWith('fromSource', type, fault);
    // Only a commit that may have been cut off costs the migration, and then the guest goes on where it was. With the
    // whole of it through, it is chance whether the destination reads it before it sees the reset; and of two that wait
    // for each other, which one gives up first.
    if (type !== 'commit' || ['twice', 'damaged'].includes(fault)) expect(verdict).toBe('moved');
    else if (['cut', 'reset-before'].includes(fault)) expect(verdict).toBe('stayed');
    else expect(['moved', 'stayed']).toContain(verdict);
    expect(hosts.runsAtTarget).toBe(verdict === 'moved');
  });

  test.each(FROM_DESTINATION)('%s', async (type) => {
    const { verdict } = await moveWith('fromDestination', type, fault);
    expect(verdict).toBe('moved');
  });
});
