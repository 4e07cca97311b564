// Guests moved from processes to processes: what both sides say of it.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { SideProcess } from './side-process.mjs';

/**
 * @typedef {import('./move-guests-side.mjs').Task} Task
 * @typedef {import('./move-guests-side.mjs').Side} Side
 */

/**
 * Moves guests all at once, each source process to a destination process of its own.
 *
 * @param {Omit<Task, 'side' | 'guests'>} task
 * @param {Omit<import('./move-guests-side.mjs').Guest, 'socketPath'>[][]} processes the guests of each source process
 */
export async function moveGuests(task, processes) {
  const folder = mkdtempSync(path.join(tmpdir(), 'kvm-htab-bench-'));
  const tasks = processes.map((guests, process) => ({
    ...task,
    guests: guests.map((guest, index) => ({
      ...guest,
      socketPath: path.join(folder, `${process}-${index}`),
    })),
  }));
  /** @param {Task['side']} side @returns {SideProcess<Side>[]} */
  const start = (side) => tasks.map((each) => new SideProcess('move-guests-side.mjs', { ...each, side }));
  const [sources, destinations] = [start('source'), start('destination')];
  const sides = [...sources, ...destinations];
  try {
    // Starting takes more CPU than a migration does: none begins before all are there.
    await Promise.all(sides.map((side) => side.ready()));
    const answers = await Promise.all(sides.map((side) => side.ask('begin')));
    return { sources: answers.slice(0, sources.length), destinations: answers.slice(sources.length) };
  } finally {
    for (const side of sides) side.stop();
    rmSync(folder, { recursive: true });
  }
}
