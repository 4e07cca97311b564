import type { QemuStreamProgress } from '../../qemu/stream/read-qemu-stream.js';
import type { Output } from '../output.js';
import { formatBytes, formatCount } from './format.js';
import { createLineDisplay, type ProgressDisplay } from './progress.js';

/** Shows a person how far a file has been read: how much is still to come, a stream does not tell. */
export function createStreamDisplay(stderr: Output['stderr']): ProgressDisplay<QemuStreamProgress> {
  return createLineDisplay(
    stderr,
    ({ bytes, validEntries }: QemuStreamProgress) =>
      `read ${formatBytes(bytes)}, ${formatCount(validEntries)} entries`,
  );
}
