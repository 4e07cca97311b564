// Migrations between processes: what both sides say of them.
import { execFile } from 'node:child_process';
import { setMaxListeners } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

const SIDE = fileURLToPath(new URL('side.mjs', import.meta.url));

/**
 * @typedef {import('./side.mjs').Task} Task
 * @typedef {import('./side.mjs').Answer} Answer
 * @typedef {import('./side.mjs').OfProcess & { answers: Answer[] }} Side
 */

/** @param {string} line @returns {unknown} */
const parse = (line) => JSON.parse(line);

/** @param {Task} task @param {AbortSignal} signal ends its process @returns {Promise<Side>} */
async function run(task, signal) {
  const options = { maxBuffer: 1 << 20, signal };
  const { stdout } = await promisify(execFile)(process.execPath, [SIDE, JSON.stringify(task)], options);
  const told = stdout.trim().split('\n').map(parse);
  const ofProcess = /** @type {import('./side.mjs').OfProcess} */ (told.pop());
  return { ...ofProcess, answers: /** @type {Answer[]} */ (told) };
}

/**
 * Moves guests all at once.
 *
 * @param {Omit<Task, 'side' | 'guests'>} task
 * @param {Omit<import('./side.mjs').Guest, 'socketPath'>[][]} processes the guests of each source process
 */
export async function move(task, processes) {
  const failed = new AbortController();
  setMaxListeners(0, failed.signal);
  const folder = mkdtempSync(path.join(tmpdir(), 'kvm-htab-bench-'));
  try {
    const tasks = processes.map((guests, process) => ({
      ...task,
      guests: guests.map((guest, index) => ({
        ...guest,
        socketPath: path.join(folder, `${process}-${index}`),
      })),
    }));
    const [sources, destinations] = await Promise.all([
      Promise.all(tasks.map((each) => run({ ...each, side: 'source' }, failed.signal))),
      Promise.all(tasks.map((each) => run({ ...each, side: 'destination' }, failed.signal))),
    ]);
    return { sources, destinations };
  } finally {
    // One that has failed leaves the others waiting.
    failed.abort();
    rmSync(folder, { recursive: true });
  }
}
