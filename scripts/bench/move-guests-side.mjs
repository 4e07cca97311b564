// One side of the migrations of guests. Its argument is a Task as JSON; once it is told to begin, it answers with a Side.
import { once } from 'node:events';
import { setTimeout } from 'node:timers/promises';

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
 * @property {number} [beginAfterMs] how long after the others its migration begins
 *
 * @typedef {object} Task
 * @property {'source' | 'destination'} side
 * @property {number} order
 * @property {number} [bytesPerSecond]
 * @property {Guest[]} guests all at once
 *
 * @typedef {object} Moved
 * @property {string} socketPath
 * @property {number} validEntries
 * @property {number} began ms since the epoch
 * @property {number} ended
 * @property {number | undefined} [stopMs] of a source
 * @property {number} [bytes] of records, of a destination
 *
 * @typedef {object} Side
 * @property {Moved[]} guests
 * @property {number} peakBytes the most memory that the process has had
 * @property {number} cpuMs since the guests were there
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

/** @param {Guest} guest @returns {Promise<() => Promise<Moved>>} what moves it */
async function source({ socketPath, beginAfterMs = 0, ...spec }) {
  const { vm, pause, resume } = await makeGuest(spec);
  return async () => {
    await setTimeout(beginAfterMs);
    const began = Date.now();
    const channel = () => connect(`unix:${socketPath}`);
    const report = await sendHpt(vm, channel, {
      pause,
      resume,
      bytesPerSecond,
      timeoutMs,
      waitMs: timeoutMs,
    });
    const { validEntries, stopMs } = report;
    return { socketPath, validEntries, stopMs, began, ended: Date.now() };
  };
}

/** @param {Guest} guest @returns {Promise<() => Promise<Moved>>} what takes it */
async function destination({ socketPath }) {
  const listener = await listen(`unix:${socketPath}`);
  return async () => {
    const began = Date.now();
    const { bytes, validEntries } = await receiveHpt(new EmulatedVm({ host: 'power9' }), listener, {
      timeoutMs,
    });
    listener[Symbol.dispose]();
    return { socketPath, validEntries, bytes, began, ended: Date.now() };
  };
}

const moves = await Promise.all(guests.map(side === 'source' ? source : destination));
process.send?.('ready');
await once(process, 'message');
const before = process.cpuUsage();
const moved = await Promise.all(moves.map((move) => move()));
const { user, system } = process.cpuUsage(before);
const peakBytes = process.resourceUsage().maxRSS * 1024;
process.send?.({ guests: moved, peakBytes, cpuMs: (user + system) / 1000 });
