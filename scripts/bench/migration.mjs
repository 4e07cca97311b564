// Whole migrations, and each side of them alone, against a C++ program that does the same work.
import { execFileSync, fork } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import * as tls from 'node:tls';
import { addon } from './baseline.mjs';
import { atLeast } from './cases.mjs';
import { contest, processTime } from './measure.mjs';
import { Ends, PATTERNS } from './migration-ends.mjs';

/**
 * @typedef {import('./migration-ends.mjs').Identity} Identity
 * @typedef {import('./migration-ends.mjs').PatternName} PatternName
 * @typedef {import('./migration-ends.mjs').Role} Role
 */

/** Where the library's side listens, and the baseline's. */
class Sockets {
  oursPath;
  flatPath;
  #server;
  #connected;
  #listening;

  /** @param {string} folder @param {Identity} [identity] */
  constructor(folder, identity) {
    this.oursPath = path.join(folder, 'ours');
    this.flatPath = path.join(folder, 'flat');
    this.#server =
      identity === undefined
        ? createServer()
        : tls.createServer({ cert: readFileSync(identity.certificate), key: readFileSync(identity.key) });
    this.#connected = identity === undefined ? 'connection' : 'secureConnection';
    this.#server.listen(this.oursPath);
    this.#listening = addon.listenAt(this.flatPath);
  }

  /** The library's next connection. */
  async acceptOurs() {
    const accepted = once(this.#server, this.#connected);
    const [socket] = await /** @type {Promise<[import('node:net').Socket]>} */ (accepted);
    return socket;
  }

  acceptFlat() {
    return addon.acceptFrom(this.#listening);
  }

  close() {
    this.#server.close();
  }
}

/**
 * @template T
 * @param {(folder: string) => Promise<T>} use
 */
async function inFolder(use) {
  const folder = mkdtempSync(path.join(tmpdir(), 'kvm-htab-bench-'));
  try {
    return await use(folder);
  } finally {
    rmSync(folder, { recursive: true });
  }
}

/** @param {string} folder @returns {Identity} */
function makeIdentity(folder) {
  const [certificate, key] = [path.join(folder, 'cert.pem'), path.join(folder, 'key.pem')];
  const newKey = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-keyout', key];
  execFileSync(
    'openssl',
    ['req', '-x509', ...newKey, '-out', certificate, '-days', '1', '-subj', '/CN=bench'],
    {
      stdio: 'pipe',
    },
  );
  return { certificate, key };
}

/** Both sides in this process. @param {PatternName} pattern @param {boolean} secure */
function both(pattern, secure) {
  const ends = new Ends(pattern);
  return inFolder(async (folder) => {
    const identity = secure ? makeIdentity(folder) : undefined;
    const sockets = new Sockets(folder, identity);
    const ours = async () => {
      const accepted = sockets.acceptOurs();
      const sending = secure
        ? tls.connect({ path: sockets.oursPath, rejectUnauthorized: false })
        : connect(sockets.oursPath);
      await Promise.all([ends.playOurs('send', sending), ends.playOurs('receive', await accepted)]);
    };
    const flat = async () => {
      const sending = addon.connectTo(sockets.flatPath);
      const receiving = await sockets.acceptFlat();
      await Promise.all([
        ends.playFlat('send', sending, identity),
        ends.playFlat('receive', receiving, identity),
      ]);
    };
    try {
      return await contest({ run: ours }, { run: flat }, processTime);
    } finally {
      sockets.close();
    }
  });
}

/** One side in this process, the other in another. @param {PatternName} pattern @param {Role} role */
function alone(pattern, role) {
  const ends = new Ends(pattern);
  return inFolder(async (folder) => {
    const sockets = new Sockets(folder);
    const peer = fork(path.join(import.meta.dirname, 'migration-peer.mjs'), [pattern]);
    const answer = () => once(peer, 'message');
    /** @param {boolean} isOurs */
    const begin = (isOurs) => {
      const socketPath = isOurs ? sockets.oursPath : sockets.flatPath;
      peer.send({ role: role === 'send' ? 'receive' : 'send', ours: isOurs, socketPath });
    };
    const ours = async () => {
      const done = answer();
      begin(true);
      await ends.playOurs(role, await sockets.acceptOurs());
      await done;
    };
    const flat = async () => {
      const done = answer();
      begin(false);
      await ends.playFlat(role, await sockets.acceptFlat());
      await done;
    };
    try {
      await answer();
      return await contest({ run: ours }, { run: flat }, processTime);
    } finally {
      sockets.close();
      peer.kill();
    }
  });
}

/** @type {import('./cases.mjs').Case[]} */
export const migration = /** @type {PatternName[]} */ (Object.keys(PATTERNS)).flatMap((pattern) => {
  const goal = { ...atLeast(pattern === '1 % random' ? 0.5 : 0.7), waits: true };
  return [
    { name: `send, Unix socket, ${pattern}`, ...goal, run: () => alone(pattern, 'send') },
    { name: `receive, Unix socket, ${pattern}`, ...goal, run: () => alone(pattern, 'receive') },
    { name: `send and receive, Unix socket, ${pattern}`, ...goal, run: () => both(pattern, false) },
    { name: `send and receive, TLS, ${pattern}`, ...goal, run: () => both(pattern, true) },
  ];
});
