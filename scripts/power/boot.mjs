// One boot of the emulated POWER machine.
import { spawn } from 'node:child_process';
import { createWriteStream } from 'node:fs';
import { once } from 'node:events';
import { Console } from './console.mjs';

/**
 * @typedef {{ machine: 'powernv8' | 'powernv9', hashHost: boolean }} Machine
 * @typedef {Machine & {
 *   emulator?: readonly string[], kernel: string, initramfs: string, log: string, memoryMiB: number,
 *   silenceMs: number
 * }} BootOptions `emulator` is the command that begins QEMU; `kernel` and `initramfs` are files; everything the console says
 *   goes into the file `log`; a guest that says nothing for `silenceMs` hangs
 */

const INSTALLED = ['qemu-system-ppc64'];

/**
 * @param {BootOptions} options
 * @param {string} [append] more words for the kernel's command line
 * @returns {[program: string, args: string[]]}
 */
function qemuCommand({ emulator = INSTALLED, machine, hashHost, kernel, initramfs, memoryMiB }, append = '') {
  const [program = '', ...args] = [
    ...emulator,
    // One CPU: with two on a busy machine programs inside a POWER8 crash or hang now and then.
    ['-M', machine, '-cpu', machine.replace('nv', ''), '-m', `${memoryMiB}M`, '-smp', '1'],
    ['-accel', 'tcg,thread=single', '-nographic', '-serial', 'mon:stdio', '-no-reboot'],
    // Without the default devices firmware does not spend seconds on empty PCI bridges; but power-off needs a BMC.
    ['-nodefaults', '-device', 'ipmi-bmc-sim,id=bmc0', '-device', 'isa-ipmi-bt,bmc=bmc0,irq=10'],
    ['-kernel', kernel, '-initrd', initramfs],
    ['-append', `console=hvc0 quiet log_buf_len=16M ${hashHost ? 'disable_radix ' : ''}${append}`],
  ].flat();
  return [program, args];
}

/**
 * Runs the tests in a guest, showing what they print.
 *
 * @param {BootOptions} options
 * @param {(line: string) => void} show
 * @returns {Promise<Console>} what was counted; its `verdict` is undefined where the guest did not get to the end
 */
export async function boot(options, show) {
  const child = spawn(...qemuCommand(options), { stdio: ['ignore', 'pipe', 'pipe'] });
  const stop = () => child.kill('SIGKILL');
  process.once('exit', stop);
  const log = createWriteStream(options.log);
  const output = new Console(show);
  const silence = setTimeout(stop, options.silenceMs);
  const take = (/** @type {string} */ text) => {
    silence.refresh();
    log.write(text);
    output.push(text);
  };
  child.stdout.setEncoding('utf8').on('data', take);
  child.stderr.setEncoding('utf8').on('data', take);
  try {
    await once(child, 'close');
  } finally {
    clearTimeout(silence);
    process.off('exit', stop);
    log.end();
  }
  return output;
}

/**
 * Boots to a prompt on this terminal.
 *
 * @param {BootOptions} options
 * @returns {Promise<void>}
 */
export async function bootShell(options) {
  const child = spawn(...qemuCommand(options, 'power-shell'), { stdio: 'inherit' });
  await once(child, 'close');
}
