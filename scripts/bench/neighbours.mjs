// Eight migrations at once on one host, in one process a side and in eight, against each of them alone: how long the guests
// stand still, how fast their tables move, and what that takes.
import { mebibytes, median } from './figures.mjs';
import { moveGuests } from './move-guests.mjs';

const GUESTS = 8;
/** As fast as eight of them leave CPU to spare: a stop that waits for a CPU says nothing about the library. */
const TASK = { order: 24, bytesPerSecond: 500_000 };
const APART_MS = 250;

const guests = Array.from({ length: GUESTS }, (_, seed) => ({ seed, steps: 200_000, stepsPerSecond: 500 }));
const apart = guests.map((guest) => ({ ...guest, beginAfterMs: guest.seed * APART_MS }));

/** @param {number[]} values */
const sum = (values) => values.reduce((total, value) => total + value, 0);

/** @param {(typeof guests)[]} processes */
async function measure(processes) {
  const { sources, destinations } = await moveGuests(TASK, processes);
  const sides = [...sources, ...destinations];
  const moved = sources.flatMap((side) =>
    side.guests.toSorted((a, b) => (a.socketPath < b.socketPath ? -1 : 1)),
  );
  const ms = Math.max(...moved.map(({ ended }) => ended)) - Math.min(...moved.map(({ began }) => began));
  return {
    stops: moved.map(({ stopMs = NaN }) => stopMs),
    bytesPerSecond:
      (sum(destinations.flatMap((side) => side.guests.map(({ bytes = 0 }) => bytes))) / ms) * 1000,
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
for (const [when, each] of Object.entries({
  [`each ${APART_MS} ms after the last`]: apart,
  together: guests,
})) {
  report(`eight in one process, ${when}`, await measure([each]), stops);
  report(`eight in eight processes, ${when}`, await measure(each.map((guest) => [guest])), stops);
}
