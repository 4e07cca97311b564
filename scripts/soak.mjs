// npm run soak: guests that move for hours, with faults (--help tells more).
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { build } from 'esbuild';
import { root } from './native/toolchain.mjs';

const HELP = `Moves guests for hours while connections are cut and processes killed, and stops at the first failure.

Usage: npm run soak -- [options]

  --hours N      how long, on each machine (1)
  --minutes N    the same, in minutes
  --moves N      end earlier, once so many guests have moved
  --seed N       seed of the first round; each round has the next one (default: from the clock, printed)
  --emulated     20 guests at once, from one process into another, on the emulated kernel
                 Without it: a guest that checks itself, on the real kernel of the machines of test:power, two at a time.
                 Its options --machine, --hash-host, --kernel and --keep count here too.

Each hour has a line: what was done, descriptors, memory and journal of each process. A shorter soak has six.

Exit status: 0 if all went as it must; 1 if not, with the seed of the round and the command that makes it again; 2 for a wrong
option; 3, 77 as test:power.
`;

const EXIT_USAGE = 2;
/** A heap that begins large is collected after a round rather than every few moves, which takes a third of the time. */
const NODE_OPTIONS = ['--expose-gc', '--initial-old-space-size=256'];

/** @param {string[]} args */
function parse(args) {
  const { values } = parseArgs({
    args,
    options: {
      hours: { type: 'string' },
      minutes: { type: 'string' },
      moves: { type: 'string', default: '999999999' },
      seed: { type: 'string', default: String(Date.now() % 1e6) },
      emulated: { type: 'boolean', default: false },
      machine: { type: 'string' },
      'hash-host': { type: 'boolean', default: false },
      kernel: { type: 'string' },
      keep: { type: 'boolean', default: false },
      help: { type: 'boolean', default: false },
    },
  });
  const { hours, minutes, ...others } = values;
  if (hours !== undefined && minutes !== undefined) throw new TypeError('--hours or --minutes, not both');
  const { emulated, machine, 'hash-host': hashHost, kernel, keep } = others;
  if (emulated && (machine !== undefined || hashHost || kernel !== undefined || keep)) {
    throw new TypeError(
      '--emulated boots no machine: --machine, --hash-host, --kernel and --keep are not for it',
    );
  }
  const chosen = minutes === undefined ? number('hours', hours ?? '1') * 60 : number('minutes', minutes);
  return {
    ...others,
    minutes: chosen,
    moves: number('moves', others.moves),
    seed: number('seed', others.seed),
  };
}

/**
 * @param {string} name
 * @param {string} value
 */
function number(name, value) {
  if (!/^\d{1,9}$/.test(value)) throw new TypeError(`--${name} takes a whole number, not ${value}`);
  return Number(value);
}

/** @param {{ minutes: number, moves: number, seed: number }} settings */
async function emulated({ minutes, moves, seed }) {
  const outdir = path.join(root, '.cache/soak');
  await build({
    absWorkingDir: root,
    entryPoints: ['test/soak/emulated.ts', 'test/soak/destination.ts'],
    bundle: true,
    platform: 'node',
    format: 'esm',
    // Node 20 does not know `using`.
    target: 'node20',
    packages: 'external',
    outdir,
  });
  return [...NODE_OPTIONS, path.join(outdir, 'emulated.js'), JSON.stringify({ minutes, moves, seed })];
}

/** @param {ReturnType<typeof parse>} options */
function machines({ minutes, moves, seed, machine, 'hash-host': hashHost, kernel, keep }) {
  return [
    path.join(root, 'scripts/power/main.mjs'),
    ...['--soak-minutes', String(minutes), '--soak-moves', String(moves), '--seed', String(seed)],
    ...(machine === undefined ? [] : ['--machine', machine]),
    ...(hashHost ? ['--hash-host'] : []),
    ...(kernel === undefined ? [] : ['--kernel', kernel]),
    ...(keep ? ['--keep'] : []),
  ];
}

function options() {
  try {
    return parse(process.argv.slice(2));
  } catch (error) {
    process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n\n${HELP}`);
    return undefined;
  }
}

const chosen = options();
if (chosen === undefined) process.exitCode = EXIT_USAGE;
else if (chosen.help) process.stdout.write(HELP);
else {
  process.stdout.write(`soak: seed ${chosen.seed}\n`);
  const child = spawn(process.execPath, chosen.emulated ? await emulated(chosen) : machines(chosen), {
    stdio: 'inherit',
  });
  for (const signal of /** @type {const} */ (['SIGINT', 'SIGTERM', 'SIGHUP']))
    process.on(signal, () => child.kill(signal));
  await once(child, 'exit');
  process.exitCode = child.exitCode ?? 1;
}
