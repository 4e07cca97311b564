import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { receiveHpt } from '../../lib/migration/destination/receive.js';
import { sendHpt } from '../../lib/migration/source/send.js';
import { linkStreams } from './harness/linked-streams.js';
import { settleInFakeTime, startGuest, useFakeTime } from './harness/test-guest.js';
import { power8 } from './harness/move-guest.js';

beforeEach(useFakeTime);
afterEach(() => vi.useRealTimers());

test.each([20_000, 100_000])(
  'at %i bytes per second every frame waits for its time, and none owes much',
  async (rate) => {
    const guest = await startGuest();
    const stepMs = 5;
    const frameBytes = Math.max(4096, rate / 20);
    const frames: { readonly at: number; readonly bytes: number }[] = [];
    let passBytes = 0;
    const [ours, theirs] = linkStreams();
    const begun = performance.now();
    const sending = sendHpt(
      guest.vm,
      ours,
      guest.options({
        bytesPerSecond: rate,
        frameBytes: 1 << 20,
        maxPasses: 3,
        onProgress: ({ live, complete, bytes }) => {
          if (live && !complete) frames.push({ at: performance.now() - begun, bytes: bytes - passBytes });
          passBytes = complete ? 0 : bytes;
        },
      }),
    );
    await settleInFakeTime(Promise.all([sending, receiveHpt(power8(), theirs)]), stepMs);
    expect(frames.length).toBeGreaterThan(3);
    let [sent, lastAt] = [0, 0];
    for (const { at, bytes } of frames) {
      expect(bytes).toBeLessThanOrEqual(frameBytes);
      expect(sent, 'sent before its time').toBeLessThanOrEqual((rate * at) / 1000 + frameBytes);
      // A few turns between the sides, of a step each, come on top of the time of the frame before.
      expect(at - lastAt, 'time without a frame').toBeLessThanOrEqual(
        (frameBytes / rate) * 1000 + 10 * stepMs,
      );
      sent += bytes;
      lastAt = at;
    }
  },
);
