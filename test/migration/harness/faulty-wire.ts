import { FRAME_HEADER_BYTES } from '../../../lib/frames/frame.js';
import type { Message, MessageType } from '../../../lib/migration/wire/messages.js';
import { decodeHeader, encodeFrame } from '../../../lib/migration/wire/protocol.js';
import type { Wire } from './linked-streams.js';

/** What can happen to a frame on its way. */
export type FrameFault =
  'lost' | 'twice' | 'late' | 'cut' | 'damaged' | 'stall' | 'reset-after' | 'reset-before';

export const FRAME_FAULTS: readonly FrameFault[] = [
  'lost',
  'twice',
  'late',
  'cut',
  'damaged',
  'stall',
  'reset-after',
  'reset-before',
];

/**
 * A wire on which one frame suffers.
 *
 * @param strikes whether this one does, asked for every frame until one has
 * @param fault what it suffers; a message: that comes in its place
 */
export function frameWire(
  strikes: (type: MessageType, number: number) => boolean,
  fault: FrameFault | 'none' | Message,
  struck: () => void = () => undefined,
): Wire {
  let rest = Buffer.alloc(0);
  let number = 0;
  let done = false;
  let held: Buffer | undefined;
  let stalled = false;
  return (chunk) => {
    rest = Buffer.concat([rest, chunk]);
    const out: Buffer[] = [];
    while (rest.length >= FRAME_HEADER_BYTES) {
      const header = decodeHeader(rest.subarray(0, FRAME_HEADER_BYTES));
      const length = FRAME_HEADER_BYTES + header.length;
      if (rest.length < length) break;
      const frame = rest.subarray(0, length);
      rest = rest.subarray(length);
      if (stalled) continue;
      if (done || !strikes(header.type, number++)) {
        out.push(frame);
        if (held !== undefined) out.push(held);
        held = undefined;
        continue;
      }
      done = true;
      struck();
      if (typeof fault === 'object') {
        const other = encodeFrame(fault, header.sequence);
        out.push(other.header, Buffer.from(other.payload));
        continue;
      }
      switch (fault) {
        case 'none':
          out.push(frame);
          break;
        case 'lost':
          break;
        case 'twice':
          out.push(frame, frame);
          break;
        case 'late':
          held = frame;
          break;
        case 'damaged': {
          const damaged = Buffer.from(frame);
          damaged[length - 1]! ^= 0x10;
          out.push(damaged);
          break;
        }
        case 'stall':
          stalled = true;
          break;
        case 'cut':
          return { bytes: Buffer.concat([...out, frame.subarray(0, length - 1)]), cut: true };
        case 'reset-before':
          return { bytes: Buffer.concat(out), cut: true };
        case 'reset-after':
          return { bytes: Buffer.concat([...out, frame]), cut: true };
      }
    }
    return { bytes: Buffer.concat(out) };
  };
}
