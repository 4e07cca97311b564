// Moves a table of order 33 with one entry in eight valid (2^26, 1 GiB of them) from one emulated VM to another, each with
// its side of the migration in a process of its own: how long that takes, and the memory of each.
import { move } from './sides.mjs';

const ORDER = 33;
const mebibytes = (/** @type {number} */ bytes) => `${(bytes / 2 ** 20).toFixed(0)} MiB`;

const { sources, destinations } = await move({ order: ORDER }, [[{}]]);
for (const [name, sides] of Object.entries({ source: sources, destination: destinations })) {
  for (const { answers, peakBytes, cpuMs } of sides) {
    for (const { validEntries, ms, stopMs } of answers) {
      const stop = stopMs === undefined ? '' : `, stop ${stopMs.toFixed(0)} ms`;
      process.stdout.write(
        `${name}: ${validEntries} entries in ${(ms / 1000).toFixed(1)} s${stop}, CPU ${(cpuMs / 1000).toFixed(1)} s, ` +
          `peak ${mebibytes(peakBytes)}: ${(peakBytes / validEntries).toFixed(1)} bytes a valid entry\n`,
      );
    }
  }
}
