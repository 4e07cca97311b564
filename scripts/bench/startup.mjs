// What the package adds to the start of a process.
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { atMost } from './cases.mjs';
import { contest, wallTime } from './measure.mjs';

const cwd = fileURLToPath(new URL('../..', import.meta.url));

/** @param {string[]} args */
function start(args) {
  const { status } = spawnSync(process.execPath, args, { cwd, stdio: 'ignore' });
  if (status !== 0) throw new Error(`node ${args.join(' ')} ended with ${String(status)}`);
}

/** @param {string[]} args */
async function aboveBareNode(args) {
  const { ours, baseline, difference } = await contest(
    { run: () => start(args) },
    { run: () => start(['--eval', '0']) },
    wallTime,
  );
  return { ours, baseline, ratio: difference / 1e6 };
}

/** @type {import('./cases.mjs').Case[]} */
export const startup = [
  {
    name: "import 'kvm-htab', above node -e 0",
    ...atMost(25, 'ms'),
    waits: true,
    run: () => aboveBareNode(['--input-type=module', '--eval', "import 'kvm-htab'"]),
  },
  {
    name: 'kvm-htab --help, above node -e 0',
    ...atMost(60, 'ms'),
    waits: true,
    run: () => aboveBareNode(['dist/bundle/main.js', '--help']),
  },
];
