// Eight migrations at once on one host, in one process a side and in eight, against each of them alone: how long the guests
// stand still, how fast their tables move, and what that takes.
import { move } from './sides.mjs';

const GUESTS = 8;
/** As fast as eight of them leave CPU to spare: a stop that waits for a CPU says nothing about the library. */
const TASK = { order: 24, bytesPerSecond: 500_000 };

const guests = Array.from({ length: GUESTS }, (_, seed) => ({ seed, steps: 40_000, stepsPerSecond: 500 }));

/** @param {number[]} values */
const sum = (values) => values.reduce((total, value) => total + value, 0);
/** @param {number[]} values */
const median = (values) => values.toSorted((a, b) => a - b)[values.length >>> 1] ?? NaN;
const mebibytes = (/** @type {number} */ bytes) => `${(bytes / 2 ** 20).toFixed(0)} MiB`;

/** @param {(typeof guests)[]} processes */
async function measure(processes) {
  const { sources, destinations } = await move(TASK, processes);
  const sides = [...sources, ...destinations];
  const moved = sources.flatMap(({ answers }) =>
    answers.toSorted((a, b) => (a.socketPath < b.socketPath ? -1 : 1)),
  );
  const ms = Math.max(...moved.map((each) => each.ms));
  return {
    stops: moved.map(({ stopMs = NaN }) => stopMs),
    bytesPerSecond:
      (sum(destinations.flatMap(({ answers }) => answers.map(({ bytes = 0 }) => bytes))) / ms) * 1000,
    cpus: sum(sides.map(({ cpuMs }) => cpuMs)) / ms,
    memory: sum(sides.map(({ peakBytes }) => peakBytes)),
  };
}

/** @param {string} name @param {Awaited<ReturnType<typeof measure>>} measured @param {number[]} alone stops */
function report(name, { stops, bytesPerSecond, cpus, memory }, alone) {
  const times = stops.map((stop, guest) => stop / (alone[guest] ?? NaN));
  process.stdout.write(
    `${name}: stop ${median(stops).toFixed(1)} ms, at most ${Math.max(...stops).toFixed(1)} ms ` +
      `(${median(times).toFixed(2)} and ${Math.max(...times).toFixed(2)} times those alone), ` +
      `${(bytesPerSecond / 1e6).toFixed(2)} MB/s, ${cpus.toFixed(2)} CPUs, ${mebibytes(memory)}\n`,
  );
}

const alone = [];
for (const guest of guests) alone.push(await measure([[guest]]));
const stops = alone.flatMap((each) => each.stops);
report(
  'one by one',
  {
    stops,
    bytesPerSecond: median(alone.map((each) => each.bytesPerSecond)),
    cpus: median(alone.map((each) => each.cpus)),
    memory: median(alone.map((each) => each.memory)),
  },
  stops,
);
report('eight in one process', await measure([guests]), stops);
report('eight in eight processes', await measure(guests.map((guest) => [guest])), stops);
