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

/** What a start adds to that of a bare Node, as a part of it. @param {string[]} args */
async function addedToNode(args) {
  const { ours, baseline, ratio } = await contest(
    { run: () => start(args) },
    { run: () => start(['--eval', '0']) },
    wallTime,
  );
  return { ours, baseline, ratio: 1 / ratio - 1 };
}

/** @type {import('./cases.mjs').Case[]} */
export const startup = [
  {
    name: "import 'kvm-htab', and node -e 0",
    ...atMost(0.25, 'of it added'),
    waits: true,
    run: () => addedToNode(['--input-type=module', '--eval', "import 'kvm-htab'"]),
  },
  {
    name: 'kvm-htab --help, and node -e 0',
    ...atMost(0.5, 'of it added'),
    waits: true,
    run: () => addedToNode(['dist/bundle/main.js', '--help']),
  },
];
