#!/usr/bin/env node
import { EXIT_CODES } from './exit-codes.js';
import { INTERRUPTIONS } from './interrupt.js';
import { run } from './program.js';
import { standardStreams } from './standard-streams.js';

/** Time for a last file call to end by itself. */
const LAST_CALL_MS = 10_000;

const output = standardStreams();
const { stdout, stderr } = output;
// Nobody reading, or no room, must not end a migration half way: the command goes on and takes care of its guest.
// A reader that has seen enough (`kvm-htab ... | head`) is no failure of ours either.
stderr.on('error', () => undefined);
let unwritten = false;
stdout.on('error', (error: NodeJS.ErrnoException) => {
  unwritten = error.code !== 'EPIPE';
});

const exitCode = await run(process.argv.slice(2), output);
process.exitCode = exitCode;
process.on('exit', () => {
  if (!unwritten) return;
  process.stderr.write('kvm-htab: standard output could not be written to\n');
  // What has become of a guest is what these two say, and not whether anybody could be told about it.
  const isAboutGuest = ['send', 'receive'].includes(process.argv[2] ?? '');
  if (exitCode === EXIT_CODES.ok && !isAboutGuest) process.exitCode = EXIT_CODES.failed;
});

// The outcome stands, and the exit code says it, also if a signal ends what is still going on.
for (const signal of INTERRUPTIONS) process.on(signal, () => void end());
setInterval(() => {
  // What a terminal has not taken yet is still to be said.
  if (!fileCallHangs() || stdout.writableLength + stderr.writableLength > 0) return;
  stderr.write('kvm-htab: a file call hangs, and is left: look at the disk\n', () => void end());
}, LAST_CALL_MS).unref();

function fileCallHangs(): boolean {
  return process.getActiveResourcesInfo().some((name) => name.startsWith('FSReq') || name === 'CloseReq');
}

/** Ends the process. One that a file call holds must do without its exit handlers: process.exit() waits for all threads. */
async function end(): Promise<void> {
  if (fileCallHangs()) {
    const { loadAddon } = await import('../vm/kvm/addon.js');
    try {
      loadAddon().exitNow(exitCode);
    } catch {
      // Where there is no addon, it ends with the call.
    }
  }
  process.exit();
}
