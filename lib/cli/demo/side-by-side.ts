import type { PassProgress } from '../../precopy/pass-progress.js';
import type { MemoryProgress } from '../../testing/agent/rounds.js';
import type { Output } from '../output.js';
import { formatBytes, formatCount } from '../report/format.js';
import { createLineDisplay, type ProgressDisplay } from '../report/progress.js';

/** Shows how far a guest's memory and its table are, in one line. */
export class SideBySide {
  readonly #display: ProgressDisplay<string>;
  #memory = 'memory: not begun';
  #table = 'table: not begun';

  constructor(stderr: Output['stderr']) {
    this.#display = createLineDisplay(stderr, (text: string) => text);
  }

  readonly memory = (progress: MemoryProgress): void => {
    const { round, live, pages, sentPages, bytes, complete } = progress;
    // A round of a guest that has stored nothing.
    if (pages === 0 && live) return;
    // A round also sends what the guest stores to before it comes there.
    const percent = complete ? 100 : Math.min(99, Math.floor((sentPages / pages) * 100));
    this.#memory = `memory round ${round}${live ? '' : ', guest stopped'} ${percent}%: ${formatCount(pages)} pages, ${formatBytes(bytes)}`;
    this.#show();
  };

  readonly table = (progress: PassProgress): void => {
    const { pass, live, scanned, entries, bytes } = progress;
    const percent = Math.floor(scanned * 100);
    this.#table = `table pass ${pass}${live ? '' : ', guest stopped'} ${percent}%: ${formatCount(entries)} entries, ${formatBytes(bytes)}`;
    this.#show();
  };

  stop(): void {
    this.#display.stop();
  }

  #show(): void {
    this.#display.update(`${this.#memory.padEnd(60)} | ${this.#table}`);
  }
}
