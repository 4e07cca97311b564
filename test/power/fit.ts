import assert from 'node:assert/strict';
import type { Fit } from '../../lib/inspect/fit-order.js';
import type { Host } from './host.js';
import { tryTable } from './resize-trial.js';
import type { Test } from './runner.js';

const TABLES = 200;
const TIMEOUT_MS = 840_000;

/** What a resize makes of a table, predicted and done. */
export function fitSuite(test: Test, host: Host): void {
  test(
    `${TABLES} random tables end a COMMIT as fitOrder predicts, and have what it says`,
    async (t) => {
      const verdicts: Record<Fit['verdict'], number> = { fits: 0, 'no-space': 0, 'would-crash': 0 };
      for (let seed = 0; seed < TABLES; seed++) verdicts[await tryTable(seed, host, t.signal)]++;
      t.note(Object.entries(verdicts).map(([verdict, count]) => `${verdict} ${count}`).join(', ')); // prettier-ignore
      assert.ok(Math.min(...Object.values(verdicts)) > 10);
    },
    { timeoutMs: TIMEOUT_MS },
  );
}
