import type { SendOptions } from '../../migration/source/send-options.js';
import { MAX_DATA_BYTES } from '../../migration/wire/protocol.js';

/** So slow that the first pass, some 420 kB, takes a while ... */
const BYTES_PER_SECOND = 160_000;
/** ... and yet some four times what the guest changes, so that each pass is shorter than the one before. */
const BYTES_PER_STEP = 20;
/** Frames short enough for the eye to follow the progress. */
const FRAMES_PER_SECOND = 20;
const MAX_CHANGED_ENTRIES = 64;
const MAX_PASSES = 10;

/** How the demo sends the table of a guest that takes so many steps per second. */
export function tableRates(rate: number): SendOptions & { readonly bytesPerSecond: number } {
  const bytesPerSecond = Math.max(BYTES_PER_SECOND, rate * BYTES_PER_STEP);
  return {
    bytesPerSecond,
    frameBytes: Math.min(Math.round(bytesPerSecond / FRAMES_PER_SECOND), MAX_DATA_BYTES),
    maxChangedEntries: MAX_CHANGED_ENTRIES,
    maxPasses: MAX_PASSES,
  };
}
