// Moves a table of order 33 with one entry in eight valid (2^26, 1 GiB of them) from one emulated VM to another, each with
// its side of the migration in a process of its own: how long that takes, and the memory of each.
import { mebibytes } from './figures.mjs';
import { moveGuests } from './move-guests.mjs';

const ORDER = 33;

const { sources, destinations } = await moveGuests({ order: ORDER }, [[{}]]);
for (const [name, sides] of Object.entries({ source: sources, destination: destinations })) {
  for (const { guests, peakBytes, cpuMs } of sides) {
    for (const { validEntries, began, ended, stopMs } of guests) {
      const stop = stopMs === undefined ? '' : `, stop ${stopMs.toFixed(0)} ms`;
      process.stdout.write(
        `${name}: ${validEntries} entries in ${((ended - began) / 1000).toFixed(1)} s${stop}, CPU ${(cpuMs / 1000).toFixed(1)} s, ` +
          `peak ${mebibytes(peakBytes)}: ${(peakBytes / validEntries).toFixed(1)} bytes a valid entry\n`,
      );
    }
  }
}
