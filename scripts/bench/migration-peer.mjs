// One side of a migration in a process of its own, so that its time is not that of the other: plays what its parent says.
import { connect } from 'node:net';
import { addon } from './baseline.mjs';
import { Ends } from './migration-ends.mjs';

/**
 * @typedef {object} Part
 * @property {import('./migration-ends.mjs').Role} role
 * @property {boolean} ours played by the library, not by the baseline
 * @property {string} socketPath where the parent listens
 */

const ends = new Ends(/** @type {import('./migration-ends.mjs').PatternName} */ (process.argv[2]));

/** @param {Part} part */
async function play({ role, ours, socketPath }) {
  if (ours) await ends.playOurs(role, connect(socketPath));
  else await ends.playFlat(role, addon.connectTo(socketPath));
  process.send?.('done');
}

process.on('message', (part) => {
  void play(/** @type {Part} */ (part));
});
process.send?.('ready');
