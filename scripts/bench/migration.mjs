// Whole migrations, and each side of them, against a C++ program that does the same work.
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { atLeast } from './cases.mjs';
import { contest } from './measure.mjs';
import { SideProcess } from './side-process.mjs';
import { PATTERNS } from './table-migration.mjs';

/**
 * @typedef {import('./table-migration.mjs').Identity} Identity
 * @typedef {import('./table-migration.mjs').PatternName} PatternName
 * @typedef {import('./table-migration.mjs').Role} Role
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

/** @param {PatternName} pattern @param {readonly Role[]} counted sides whose time counts @param {boolean} secure */
async function migrations(pattern, counted, secure) {
  const folder = mkdtempSync(path.join(tmpdir(), 'kvm-htab-bench-'));
  const tls = secure ? { identity: makeIdentity(folder) } : {};
  /** Each answers with its CPU time, ns. @type {[Role, SideProcess<number>][]} */
  const sides = BOTH.map((role) => [
    role,
    new SideProcess('migration-side.mjs', { role, pattern, folder, ...tls }),
  ]);
  let spent = 0;
  /** @param {import('./migration-side.mjs').By} by */
  const migrate = async (by) => {
    const times = await Promise.all(sides.map(([, side]) => side.ask(by)));
    sides.forEach(([role], index) => {
      if (counted.includes(role)) spent += times[index] ?? 0;
    });
  };
  try {
    await Promise.all(sides.map(([, side]) => side.ready()));
    return await contest({ run: () => migrate('library') }, { run: () => migrate('baseline') }, () => spent);
  } finally {
    for (const [, side] of sides) side.stop();
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
