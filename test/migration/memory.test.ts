import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { promisify } from 'node:util';
import { expect, test } from 'vitest';
import { HPTE_BYTES } from '../../lib/hpt/geometry.js';
import { notCompiled } from '../cli/processes.js';
import { scratchFiles } from '../scratch.js';

const CHILD = 'test/migration/memory-child.mjs';
/** What each side may take beyond the fold of the table. */
const ALLOWED_BYTES = 64 << 20;
const scratch = scratchFiles();

interface Taken {
  readonly baselineBytes: number;
  readonly peakBytes: number;
  readonly movedBytes: number;
  readonly passes: number;
  readonly attempts: number;
  readonly validEntries: number;
}

async function run(side: 'source' | 'destination', socketPath: string): Promise<Taken> {
  const { stdout } = await promisify(execFile)(process.execPath, ['--expose-gc', CHILD, side, socketPath]);
  return JSON.parse(stdout) as Taken;
}

const reason = existsSync('/proc/self/status') ? notCompiled : 'there is no /proc';
const title = reason === undefined ? '' : ` (${reason})`;

test.skipIf(reason !== undefined)(
  `source and destination take the table's fold and 64 MiB at the most, however long the migration is${title}`,
  async () => {
    const socketPath = scratch('socket');
    const destination = run('destination', socketPath);
    while (!existsSync(socketPath)) await new Promise((resolve) => setTimeout(resolve, 10));
    for (const [side, taken] of [
      ['source', await run('source', socketPath)],
      ['destination', await destination],
    ] as const) {
      const { baselineBytes, peakBytes, movedBytes, passes, attempts, validEntries } = taken;
      // More than would fit, were any of it kept.
      expect(movedBytes, JSON.stringify(taken)).toBeGreaterThan(3 * ALLOWED_BYTES);
      expect(attempts, JSON.stringify(taken)).toBeGreaterThan(20);
      // Of a fold, its entries are the least.
      const foldBytes = validEntries * HPTE_BYTES;
      const extra = peakBytes - baselineBytes - foldBytes;
      process.stderr.write(
        `${side}: ${passes} passes over ${attempts} connections, ${movedBytes >> 20} MiB moved, fold of ` +
          `${foldBytes >> 20} MiB: at most ${extra >> 20} MiB more than before\n`,
      );
      expect(extra).toBeLessThan(ALLOWED_BYTES);
    }
  },
);
