// One side of the migration of a table: runs it as often as its parent says by what, and answers each time with the CPU time
// that it took, in ns. The destination listens.
import { on, once } from 'node:events';
import { readFileSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import path from 'node:path';
import * as tls from 'node:tls';
import { addon } from './baseline.mjs';
import { processTime } from './measure.mjs';
import { TableMigration } from './table-migration.mjs';

/**
 * @typedef {object} Task
 * @property {import('./table-migration.mjs').Role} role
 * @property {import('./table-migration.mjs').PatternName} pattern
 * @property {string} folder where the sockets are
 * @property {import('./table-migration.mjs').Identity} [identity] over TLS
 *
 * @typedef {'library' | 'baseline'} By
 * @typedef {{ channel: () => Promise<import('node:net').Socket>, descriptor: () => Promise<number> }} Connections
 *   for the library, and for the baseline
 */

/** @type {unknown} */
const given = JSON.parse(process.argv[2] ?? '');
const { role, pattern, folder, identity } = /** @type {Task} */ (given);
const [libraryPath, baselinePath] = [path.join(folder, 'library'), path.join(folder, 'baseline')];

/** @returns {Promise<Connections>} */
async function listen() {
  const server =
    identity === undefined
      ? createServer()
      : tls.createServer({ cert: readFileSync(identity.certificate), key: readFileSync(identity.key) });
  const connected = identity === undefined ? 'connection' : 'secureConnection';
  await once(server.listen(libraryPath), 'listening');
  // Not `once`: a source may be there before this side is asked to run.
  const accepted = on(server, connected);
  const listening = addon.listenAt(baselinePath);
  return {
    channel: async () => {
      const next = /** @type {IteratorYieldResult<[import('node:net').Socket]>} */ (await accepted.next());
      return next.value[0];
    },
    descriptor: () => addon.acceptFrom(listening),
  };
}

/** @type {Connections} */
const dialing = {
  channel: () =>
    Promise.resolve(
      identity === undefined
        ? connect(libraryPath)
        : tls.connect({ path: libraryPath, rejectUnauthorized: false }),
    ),
  descriptor: () => Promise.resolve(addon.connectTo(baselinePath)),
};

const migration = new TableMigration(pattern);
const { channel, descriptor } = role === 'receive' ? await listen() : dialing;

/** @param {By} by */
async function run(by) {
  const before = processTime();
  if (by === 'library') await migration.byLibrary(role, await channel());
  else await migration.byBaseline(role, await descriptor(), identity);
  process.send?.(processTime() - before);
}

process.on('message', (by) => {
  void run(/** @type {By} */ (by));
});
process.send?.('ready');
