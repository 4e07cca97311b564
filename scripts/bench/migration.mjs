// Whole migrations, and each side of them, against a C++ program that does the same work.
import { execFileSync, fork } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { atLeast } from './cases.mjs';
import { contest } from './measure.mjs';
import { PATTERNS } from './migration-ends.mjs';

/**
 * @typedef {import('./migration-ends.mjs').Identity} Identity
 * @typedef {import('./migration-ends.mjs').PatternName} PatternName
 * @typedef {import('./migration-ends.mjs').Role} Role
 */

/** @type {readonly Role[]} */
const BOTH = ['send', 'receive'];

/** @param {string} folder @returns {Identity} */
function makeIdentity(folder) {
  const [certificate, key] = [path.join(folder, 'cert.pem'), path.join(folder, 'key.pem')];
  const newKey = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-keyout', key];
  const args = ['req', '-x509', ...newKey, '-out', certificate, '-days', '1', '-subj', '/CN=bench'];
  execFileSync('openssl', args, { stdio: 'pipe' });
  return { certificate, key };
}

/** A side of a migration, in a process of its own. */
class Player {
  role;
  #process;
  /** Rejects once it has ended. @type {Promise<never>} */
  #ended;

  /** @param {import('./migration-player.mjs').Player} player */
  constructor(player) {
    this.role = player.role;
    this.#process = fork(path.join(import.meta.dirname, 'migration-player.mjs'), [JSON.stringify(player)]);
    this.#ended = once(this.#process, 'exit').then(() => {
      throw new Error(`the process that was to ${this.role} has ended`);
    });
    this.#ended.catch(() => undefined);
  }

  async ready() {
    await this.#answer();
  }

  /** Plays its side once. @param {boolean} ours by the library, not by the baseline @returns CPU time, ns */
  play(ours) {
    const answer = this.#answer();
    this.#process.send(ours);
    return answer;
  }

  stop() {
    this.#process.kill();
  }

  async #answer() {
    const message = /** @type {Promise<[number]>} */ (once(this.#process, 'message'));
    const [answer] = await Promise.race([message, this.#ended]);
    return answer;
  }
}

/** @param {PatternName} pattern @param {readonly Role[]} counted sides whose time counts @param {boolean} secure */
async function migrations(pattern, counted, secure) {
  const folder = mkdtempSync(path.join(tmpdir(), 'kvm-htab-bench-'));
  const tls = secure ? { identity: makeIdentity(folder) } : {};
  const players = BOTH.map((role) => new Player({ role, pattern, folder, ...tls }));
  let spent = 0;
  /** @param {boolean} ours */
  const move = async (ours) => {
    const times = await Promise.all(players.map((player) => player.play(ours)));
    players.forEach(({ role }, index) => {
      if (counted.includes(role)) spent += times[index] ?? 0;
    });
  };
  try {
    await Promise.all(players.map((player) => player.ready()));
    return await contest({ run: () => move(true) }, { run: () => move(false) }, () => spent);
  } finally {
    for (const player of players) player.stop();
    rmSync(folder, { recursive: true });
  }
}

/** @type {import('./cases.mjs').Case[]} */
export const migration = /** @type {PatternName[]} */ (Object.keys(PATTERNS)).flatMap((pattern) => {
  const goal = { ...atLeast(pattern === '1 % random' ? 0.5 : 0.7), waits: true };
  /** @param {string} name @param {readonly Role[]} counted */
  const measured = (name, counted, secure = false) => ({
    name: `${name}, ${secure ? 'TLS' : 'Unix socket'}, ${pattern}`,
    ...goal,
    run: () => migrations(pattern, counted, secure),
  });
  return [
    measured('send', ['send']),
    measured('receive', ['receive']),
    measured('send and receive', BOTH),
    measured('send and receive', BOTH, true),
  ];
});
