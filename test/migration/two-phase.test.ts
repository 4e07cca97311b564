import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { type HtabError, isHtabError } from '../../lib/base/errors.js';
import { EmulatedVm } from '../../lib/vm/emulated/emulated-vm.js';
import { cutAfter, flipByte, linkStreams, type Wire } from './harness/linked-streams.js';
import { ORDER, migrate, settleInFakeTime, useFakeTime } from './harness/test-guest.js';

const H_ENTER = 0x08;
const EXACT = 1n << 39n;

interface Verdict {
  /** Who may run the guest now. */
  readonly outcome: 'moved' | 'stayed' | 'in doubt';
  /** Whether the destination took it. */
  readonly taken: boolean;
}

/**
 * Moves a small guest over this connection, and judges what both sides say at its end. Whatever happened on the way, at
 * most one side may run the guest, and only a lost acknowledgement may leave it unknown which.
 */
async function moveOver(fromSource: Wire | undefined, fromDestination: Wire | undefined): Promise<Verdict> {
  const source = new EmulatedVm({ host: 'power8' });
  const target = new EmulatedVm({ host: 'power8' });
  await source.allocateHpt(ORDER);
  const enter = (ptex: bigint): void => {
    source.hcall(H_ENTER, [EXACT, ptex, 0x11n | (ptex << 12n), 0x190n | (ptex << 12n)]);
  };
  for (const ptex of [3n, 4n, 5n, 200n, 16_383n]) enter(ptex);
  let running = true;
  const migration = migrate(source, target, linkStreams(fromSource, fromDestination), {
    maxPasses: 1,
    pause: () => {
      running = false;
      enter(77n);
      return Promise.resolve();
    },
    resume: () => {
      running = true;
      return Promise.resolve();
    },
  });
  const { sent, received } = await settleInFakeTime(migration);
  for (const { reason } of [sent, received].filter((side) => side.status === 'rejected')) {
    expect(isHtabError(reason), String(reason)).toBe(true);
  }

  const taken = received.status === 'fulfilled';
  if (taken) expect(target.table!.validCount).toBe(6);
  else expect(target.table?.validCount ?? 0).toBe(0);
  if (sent.status === 'fulfilled') {
    expect([taken, running]).toEqual([true, false]);
    expect(received).toMatchObject({ value: { migrationId: sent.value.migrationId } });
    if (taken) expect(received.value.digest()).toBe(sent.value.digest());
    return { outcome: 'moved', taken };
  }
  if ((sent.reason as HtabError).code === 'ERR_HTAB_IN_DOUBT') {
    expect(running).toBe(false);
    return { outcome: 'in doubt', taken };
  }
  expect([taken, running]).toEqual([false, true]);
  return { outcome: 'stayed', taken };
}

/** Bytes a whole migration sends each way. */
async function traffic(): Promise<{ fromSource: number; fromDestination: number }> {
  const bytes = { fromSource: 0, fromDestination: 0 };
  const count =
    (direction: keyof typeof bytes): Wire =>
    (chunk, offset) => {
      bytes[direction] = offset + chunk.length;
      return { bytes: chunk };
    };
  expect(await moveOver(count('fromSource'), count('fromDestination'))).toEqual({
    outcome: 'moved',
    taken: true,
  });
  return bytes;
}

const COMMIT_BYTES = 18;
const COMMITTED_BYTES = 18;
/** Damage is tried at every fifth byte: no field of a frame's header escapes, as frames differ in length. */
const STRIDE = 5;

beforeEach(useFakeTime);
afterEach(() => vi.useRealTimers());

describe('a connection cut', () => {
  test('after any byte from the source leaves the guest there; within the commit, in doubt', async () => {
    const { fromSource } = await traffic();
    for (let length = 0; length < fromSource; length++) {
      const expected = length < fromSource - COMMIT_BYTES ? 'stayed' : 'in doubt';
      expect(await moveOver(cutAfter(length), undefined), `${length} bytes`).toEqual({
        outcome: expected,
        taken: false,
      });
    }
    // With the whole commit through, the destination has the guest; whether its word still comes back is chance.
    expect((await moveOver(cutAfter(fromSource), undefined)).taken).toBe(true);
  });

  test('after any byte from the destination leaves the guest at the source; within the acknowledgement, in doubt', async () => {
    const { fromDestination } = await traffic();
    for (let length = 0; length < fromDestination; length++) {
      const inWindow = length >= fromDestination - COMMITTED_BYTES;
      expect(await moveOver(undefined, cutAfter(length)), `${length} bytes`).toEqual({
        outcome: inWindow ? 'in doubt' : 'stayed',
        taken: inWindow,
      });
    }
  });
});

describe('damage on the way', () => {
  test('to any byte from the source never makes a wrong table', async () => {
    const { fromSource } = await traffic();
    for (let at = 0; at < fromSource; at += STRIDE) {
      const { outcome, taken } = await moveOver(flipByte(at, 1 << (at & 7)), undefined);
      // A commit that seems longer than it is leaves both waiting for the other, each for the same time.
      const isCommitLength = at >= fromSource - COMMIT_BYTES + 4 && at < fromSource - COMMIT_BYTES + 8;
      expect(isCommitLength ? ['stayed', 'in doubt'] : ['stayed'], `byte ${at}`).toContain(outcome);
      expect(taken).toBe(false);
    }
  });

  test('to any byte from the destination never lets both run', async () => {
    const { fromDestination } = await traffic();
    for (let at = 0; at < fromDestination; at += STRIDE) {
      const { outcome } = await moveOver(undefined, flipByte(at, 1 << (at & 7)));
      expect(outcome, `byte ${at}`).toBe(at < fromDestination - COMMITTED_BYTES ? 'stayed' : 'in doubt');
    }
  });

  test('to several bytes, with a cut somewhere, ends in one of the three ways', async () => {
    const { fromSource, fromDestination } = await traffic();
    const outcomes = { moved: 0, stayed: 0, 'in doubt': 0 };
    await fc.assert(
      fc.asyncProperty(
        fc.nat(fromSource + 100),
        fc.nat(fromDestination + 100),
        fc.array(fc.tuple(fc.nat(fromSource * 4), fc.integer({ min: 1, max: 255 })), { maxLength: 2 }),
        async (cutSource, cutDestination, flips) => {
          const cut = cutAfter(cutSource);
          const damaged: Wire = (chunk, offset) =>
            cut(
              flips.reduce((bytes, [at, mask]) => flipByte(at, mask)(bytes, offset).bytes, chunk),
              offset,
            );
          outcomes[(await moveOver(damaged, cutAfter(cutDestination))).outcome]++;
        },
      ),
      { numRuns: 200 },
    );
    expect(outcomes.stayed).toBeGreaterThan(0);
  });
});
