#!/usr/bin/env node
import { EXIT_CODES } from './exit-codes.js';
import { run } from './program.js';

// Nobody reading, or no room, must not end a migration half way: the command goes on and takes care of its guest.
// A reader that has seen enough (`kvm-htab ... | head`) is no failure of ours either.
process.stderr.on('error', () => undefined);
let unwritten = false;
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  unwritten = error.code !== 'EPIPE';
});

/** Time for a last file call to end by itself. */
const LAST_CALL_MS = 10_000;

const exitCode = await run(process.argv.slice(2), process);
process.exitCode = exitCode;
// All has been said. A call that hangs with its disk has a thread, for which process.exit() would wait as well.
setTimeout(() => {
  if (!process.getActiveResourcesInfo().some((name) => name.startsWith('FSReq'))) return;
  process.stderr.write('kvm-htab: a file call hangs, and only SIGKILL ends this process: look at the disk\n');
  process.kill(process.pid, 'SIGKILL');
}, LAST_CALL_MS).unref();
process.on('exit', () => {
  if (!unwritten) return;
  process.stderr.write('kvm-htab: standard output could not be written to\n');
  // What has become of a guest is what these two say, and not whether anybody could be told about it.
  const isAboutGuest = ['send', 'receive'].includes(process.argv[2] ?? '');
  if (exitCode === EXIT_CODES.ok && !isAboutGuest) process.exitCode = EXIT_CODES.failed;
});
