// What the package adds to the start of a process.
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { atMost } from './cases.mjs';
import { contest } from './measure.mjs';

const cwd = fileURLToPath(new URL('../..', import.meta.url));
/** The clock ticks every 10 ms, and a start takes some 60. */
const STARTS = 10;
const TICK_NS = 1e7;

/** CPU time of the processes that this one has started and that have ended: cutime and cstime of proc(5). */
function childTime() {
  const [, fields = ''] = readFileSync('/proc/self/stat', 'utf8').split(') ');
  const [user, system] = fields.split(' ').slice(13, 15);
  return (Number(user) + Number(system)) * TICK_NS;
}

/** @param {string[]} args */
function start(args) {
  for (let count = 0; count < STARTS; count++) {
    const { status } = spawnSync(process.execPath, args, { cwd, stdio: 'ignore' });
    if (status !== 0) throw new Error(`node ${args.join(' ')} ended with ${String(status)}`);
  }
}

/** What a start takes more than that of a bare Node, as a part of it. @param {string[]} args */
async function addedToNode(args) {
  const { ours, baseline, ratio } = await contest(
    { run: () => start(args) },
    { run: () => start(['--eval', '0']) },
    childTime,
  );
  return { ours: ours / STARTS, baseline: baseline / STARTS, ratio: 1 / ratio - 1 };
}

/** @type {import('./cases.mjs').Case[]} */
export const startup = [
  {
    name: "import 'kvm-htab', and node -e 0",
    ...atMost(0.25, 'of it added', 1.1),
    run: () => addedToNode(['--input-type=module', '--eval', "import 'kvm-htab'"]),
  },
  {
    name: 'kvm-htab --help, and node -e 0',
    ...atMost(0.5, 'of it added', 1.5),
    run: () => addedToNode(['dist/bundle/main.js', '--help']),
  },
];
