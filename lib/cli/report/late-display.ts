import type { ProgressDisplay } from './progress.js';

const PATIENCE_MS = 1000;

/** Shows nothing of what takes less than a second. */
export function lateDisplay<Progress>(display: ProgressDisplay<Progress>): ProgressDisplay<Progress> {
  const begun = performance.now();
  return {
    update: (progress) => {
      if (performance.now() - begun >= PATIENCE_MS) display.update(progress);
    },
    stop: () => {
      display.stop();
    },
  };
}
