// One side of a migration, in a process of its own as in life: plays it as often as its parent says so, by the library or by
// the baseline, and answers each time with the CPU time that it took. The destination listens.
import { on, once } from 'node:events';
import { readFileSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import path from 'node:path';
import * as tls from 'node:tls';
import { addon } from './baseline.mjs';
import { processTime } from './measure.mjs';
import { Ends } from './migration-ends.mjs';

/**
 * @typedef {object} Player
 * @property {import('./migration-ends.mjs').Role} role
 * @property {import('./migration-ends.mjs').PatternName} pattern
 * @property {string} folder where the sockets are
 * @property {import('./migration-ends.mjs').Identity} [identity] over TLS
 *
 * @typedef {{ connectOurs: () => Promise<import('node:net').Socket>, connectFlat: () => Promise<number> }} Connections
 */

/** @type {unknown} */
const given = JSON.parse(process.argv[2] ?? '');
const { role, pattern, folder, identity } = /** @type {Player} */ (given);
const [oursPath, flatPath] = [path.join(folder, 'ours'), path.join(folder, 'flat')];

/** @returns {Promise<Connections>} */
async function listen() {
  const server =
    identity === undefined
      ? createServer()
      : tls.createServer({ cert: readFileSync(identity.certificate), key: readFileSync(identity.key) });
  const connected = identity === undefined ? 'connection' : 'secureConnection';
  await once(server.listen(oursPath), 'listening');
  // Not `once`: a source may be there before this side is asked to play.
  const accepted = on(server, connected);
  const listening = addon.listenAt(flatPath);
  return {
    connectOurs: async () => {
      const next = /** @type {IteratorYieldResult<[import('node:net').Socket]>} */ (await accepted.next());
      return next.value[0];
    },
    connectFlat: () => addon.acceptFrom(listening),
  };
}

/** @type {Connections} */
const dialing = {
  connectOurs: () =>
    Promise.resolve(
      identity === undefined ? connect(oursPath) : tls.connect({ path: oursPath, rejectUnauthorized: false }),
    ),
  connectFlat: () => Promise.resolve(addon.connectTo(flatPath)),
};

const ends = new Ends(pattern);
const { connectOurs, connectFlat } = role === 'receive' ? await listen() : dialing;

/** @param {boolean} ours */
async function play(ours) {
  const before = processTime();
  if (ours) await ends.playOurs(role, await connectOurs());
  else await ends.playFlat(role, await connectFlat(), identity);
  process.send?.(processTime() - before);
}

process.on('message', (ours) => {
  void play(ours === true);
});
process.send?.('ready');
