// One side of migrations in a process of its own. Its argument is a Task as JSON; it prints an Answer for each guest as a
// line of JSON, and a last line about the process.
import { readFileSync } from 'node:fs';

/** @param {string} name @returns {Promise<unknown>} */
const load = (name) => import(new URL(`../../dist/bundle/${name}.js`, import.meta.url).href);
const { EmulatedVm, HPTES_PER_GROUP, connect, listen, receiveHpt, sendHpt } =
  /** @type {typeof import('../../lib/index.js')} */ (await load('index'));
const { GuestWorkload } = /** @type {typeof import('../../lib/testing.js')} */ (await load('testing'));

/**
 * @typedef {object} Guest
 * @property {string} socketPath
 * @property {number} [steps] that it has worked; else every group of its table has one entry, and it stands still
 * @property {number} [stepsPerSecond] that it goes on with
 * @property {number} [seed]
 *
 * @typedef {object} Task
 * @property {'source' | 'destination'} side
 * @property {number} order
 * @property {number} [bytesPerSecond]
 * @property {Guest[]} guests all at once
 *
 * @typedef {object} Answer
 * @property {string} socketPath
 * @property {number} validEntries
 * @property {number} ms
 * @property {number | undefined} [stopMs] of a source
 * @property {number} [bytes] of records, of a destination
 *
 * @typedef {{ peakBytes: number, cpuMs: number }} OfProcess CPU: from when the guests were there
 */

/** @type {unknown} */
const task = JSON.parse(process.argv[2] ?? '');
/** A machine that is busy elsewhere may let a side wait for minutes. */
const timeoutMs = 600_000;
const { side, order, bytesPerSecond, guests } = /** @type {Task} */ (task);

/** An entry in each group, each with a page of its own. @param {import('../../lib/index.js').EmulatedVm} vm */
async function fillGroups(vm) {
  const RECORDS = 32_768;
  const bytes = new Uint8Array(RECORDS * 24);
  const view = new DataView(bytes.buffer);
  const writer = await vm.openHtab({ access: 'write' });
  const groups = 2 ** (order - 4) / HPTES_PER_GROUP;
  for (let first = 0; first < groups; first += RECORDS) {
    for (let record = 0; record < RECORDS; record++) {
      const group = first + record;
      view.setUint32(record * 24, group * HPTES_PER_GROUP, true);
      view.setUint16(record * 24 + 4, 1, true);
      view.setUint32(record * 24 + 12, 0x1);
      view.setUint32(record * 24 + 16, group >>> 20);
      view.setUint32(record * 24 + 20, ((group << 12) | 0x190) >>> 0);
    }
    await writer.writeRecords(bytes);
  }
  await writer.close();
}

/** @param {Omit<Guest, 'socketPath'>} guest */
async function makeGuest({ seed = 1, steps, stepsPerSecond = 0 }) {
  const vm = new EmulatedVm({ host: 'power9' });
  await vm.allocateHpt(order);
  if (steps === undefined) {
    await fillGroups(vm);
    return { vm, pause: async () => {}, resume: async () => {} };
  }
  const workload = new GuestWorkload(vm, { seed });
  workload.step(steps);
  let stop = new AbortController();
  /** @type {Promise<unknown>} */
  let running = Promise.resolve();
  const resume = () => {
    stop = new AbortController();
    running = workload.run({ stepsPerSecond, signal: stop.signal });
    return Promise.resolve();
  };
  const pause = async () => {
    stop.abort();
    await running;
  };
  await resume();
  return { vm, pause, resume };
}

/** @param {Guest} guest @returns {Promise<() => Promise<Answer>>} what moves it */
async function source({ socketPath, ...spec }) {
  const { vm, pause, resume } = await makeGuest(spec);
  return async () => {
    const begun = performance.now();
    const channel = () => connect(`unix:${socketPath}`);
    const report = await sendHpt(vm, channel, {
      pause,
      resume,
      bytesPerSecond,
      timeoutMs,
      waitMs: timeoutMs,
    });
    const { validEntries, stopMs } = report;
    return { socketPath, validEntries, stopMs, ms: performance.now() - begun };
  };
}

/** @param {Guest} guest @returns {Promise<() => Promise<Answer>>} what takes it */
async function destination({ socketPath }) {
  const listener = await listen(`unix:${socketPath}`);
  return async () => {
    const begun = performance.now();
    const { bytes, validEntries } = await receiveHpt(new EmulatedVm({ host: 'power9' }), listener, {
      timeoutMs,
    });
    listener[Symbol.dispose]();
    return { socketPath, validEntries, bytes, ms: performance.now() - begun };
  };
}

const moves = await Promise.all(guests.map(side === 'source' ? source : destination));
const before = process.cpuUsage();
await Promise.all(
  moves.map(async (move) => {
    process.stdout.write(`${JSON.stringify(await move())}\n`);
  }),
);
const { user, system } = process.cpuUsage(before);
const [, peak] = /^VmHWM:\s+(\d+) kB$/m.exec(readFileSync('/proc/self/status', 'utf8')) ?? [];
process.stdout.write(
  `${JSON.stringify({ peakBytes: Number(peak) * 1024, cpuMs: (user + system) / 1000 })}\n`,
);
