// npm run test:power: the tests of test/power on a real kernel with KVM-HV (--help tells more).
import { mkdir, rm } from 'node:fs/promises';
import { availableParallelism, constants } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { boot, bootShell } from './boot.mjs';
import { buildApp } from './build.mjs';
import { MissingError, say } from './command.mjs';
import { fetchKernel, fetchRoot } from './fetch.mjs';
import { prepareHost } from './host.mjs';
import { buildInitramfs } from './initramfs.mjs';
import { measuredOf, store } from './measured.mjs';
import { HELP, nameOf, parseOptions } from './options.mjs';
import { fetchEmulator, fetchQemu } from './qemu.mjs';

const EXIT = /** @type {const} */ ({ passed: 0, failed: 1, usage: 2, machine: 3, missing: 77 });

/** Machines that run side by side: each takes a CPU and 2 GiB of memory. */
const AT_ONCE = 2;

/** Longest silence of a machine, in ms: the slowest single step of the tests takes a fraction of it; a soak has a line an hour. */
const SILENCE_MS = 900_000;
const SOAK_SILENCE_MS = 3 * 3_600_000;

const repository = fileURLToPath(new URL('../..', import.meta.url));
const cache = join(repository, '.cache/power');
const app = join(cache, 'app');

/**
 * One machine to be booted.
 *
 * @typedef {{
 *   configuration: import('./options.mjs').Configuration, folder: string, bootOptions: import('./boot.mjs').BootOptions
 * }} Run
 */

/**
 * @param {import('./options.mjs').Configuration} configuration
 * @param {string} folder where the files of this boot go
 * @returns {Promise<Omit<import('./boot.mjs').BootOptions, 'silenceMs'>>}
 */
async function prepareBoot({ machine, hashHost, kernel: series, qemu: qemuSeries, newEmulator }, folder) {
  const kernel = await fetchKernel(cache, series);
  const root = await fetchRoot(cache);
  const qemu = qemuSeries && (await fetchQemu(cache, qemuSeries));
  const emulator = newEmulator === true ? await fetchEmulator(cache) : undefined;
  const initramfs = join(folder, 'initramfs');
  await buildInitramfs({ cache, root, kernel, app, ...(qemu && { qemu }), file: initramfs });
  const log = join(folder, 'console.log');
  const memoryMiB = qemu === undefined ? 2048 : 4096;
  const files = { kernel: join(kernel, 'vmlinux'), initramfs, log };
  return { machine, hashHost, ...files, memoryMiB, ...(emulator && { emulator }) };
}

/**
 * @param {import('./boot.mjs').BootOptions} options
 * @param {string} prefix of every line shown
 * @returns {Promise<import('./console.mjs').Console>}
 */
async function bootTests(options, prefix) {
  const show = (/** @type {string} */ line) => process.stdout.write(`${prefix}${line}\n`);
  const output = await boot(options, show);
  // Now and then the emulated machine ends right after firmware has started the kernel, before anything of ours ran.
  if (output.begun !== undefined) return output;
  say('the machine died before it had booted; once more');
  return boot(options, show);
}

/**
 * @param {Run} run
 * @param {string} prefix
 * @param {boolean} keep
 * @returns {Promise<import('./console.mjs').Console>}
 */
async function runTests({ configuration, folder, bootOptions }, prefix, keep) {
  say(`${prefix}booting ${nameOf(configuration)}`);
  const begun = Date.now();
  const output = await bootTests(bootOptions, prefix);
  const seconds = Math.round((Date.now() - begun) / 1000);
  const { passed, failed, skipped } = output.counts;
  say(`${nameOf(configuration)}: ${passed} passed, ${failed} failed, ${skipped} skipped in ${seconds} s`);
  if (output.verdict === undefined) say(`the machine died or hung; its console: ${bootOptions.log}`);
  else if (keep) say(`files of the boot: ${folder}`);
  else await rm(folder, { recursive: true });
  return output;
}

/**
 * @param {import('./options.mjs').Options} options
 * @returns {Promise<number>} exit status
 */
async function main(options) {
  await prepareHost();
  if (options.refresh) await rm(cache, { recursive: true, force: true });
  await buildApp(repository, app, options.tests);
  const silenceMs = options.tests.soak === undefined ? SILENCE_MS : SOAK_SILENCE_MS;
  /** @type {Run[]} */
  const runs = [];
  for (const [index, configuration] of options.configurations.entries()) {
    const folder = join(cache, 'run', String(index + 1));
    await mkdir(folder, { recursive: true });
    runs.push({
      configuration,
      folder,
      bootOptions: { ...(await prepareBoot(configuration, folder)), silenceMs },
    });
  }
  if (options.shell) {
    for (const { bootOptions } of runs) await bootShell(bootOptions);
    return EXIT.passed;
  }
  const total = { passed: 0, failed: 0, skipped: 0 };
  /** @type {number} */
  let status = EXIT.passed;
  const rest = [...runs.entries()];
  const lane = async () => {
    for (let next = rest.shift(); next !== undefined; next = rest.shift()) {
      const [index, run] = next;
      const prefix = runs.length === 1 ? '' : `${index + 1}| `;
      const output = await runTests(run, prefix, options.keep);
      const { verdict, counts } = output;
      if (options.measure && verdict !== undefined) store(nameOf(run.configuration), measuredOf(output));
      total.passed += counts.passed;
      total.failed += counts.failed;
      total.skipped += counts.skipped;
      status = Math.max(status, verdict ?? EXIT.machine);
    }
  };
  await Promise.all(Array.from({ length: Math.min(availableParallelism(), AT_ONCE) }, lane));
  process.stdout.write(`${total.passed} passed, ${total.failed} failed, ${total.skipped} skipped\n`);
  return status;
}

/** @returns {import('./options.mjs').Options | undefined} */
function options() {
  try {
    return parseOptions(process.argv.slice(2));
  } catch (error) {
    process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n\n${HELP}`);
    return undefined;
  }
}

// The end of this process is that of the machine (boot.mjs): a signal alone would leave it running.
for (const signal of /** @type {const} */ (['SIGINT', 'SIGTERM', 'SIGHUP'])) {
  process.once(signal, () => process.exit(128 + constants.signals[signal]));
}

const chosen = options();
if (chosen === undefined) process.exitCode = EXIT.usage;
else if (chosen.help) process.stdout.write(HELP);
else {
  try {
    process.exitCode = await main(chosen);
  } catch (error) {
    if (!(error instanceof MissingError)) throw error;
    say(`cannot run here: ${error.message}`);
    process.exitCode = EXIT.missing;
  }
}
