import { createWriteStream, fstatSync } from 'node:fs';
import type { Writable } from 'node:stream';
import type { WriteStream } from 'node:tty';
import type { Output } from './program.js';

const STDOUT = 1;
const STDERR = 2;

/**
 * Standard output and error that never hold the process up. Node writes to terminals and files synchronously: one that
 * takes nothing (Ctrl-S, a connection that has died, a hung disk) would stop every timer while a guest stands still.
 */
export function standardStreams(): Output {
  const stdout = asynchronous(process.stdout, STDOUT);
  // Two streams would get to one terminal in any order.
  return { stdout, stderr: isSameFile() ? stdout : asynchronous(process.stderr, STDERR) };
}

/** What Node writes to a pipe or a socket does not wait for its reader, so that it can stay as it is. */
function asynchronous(stream: WriteStream, fd: number): Output['stderr'] {
  const stats = fstatSync(fd);
  if (stats.isFIFO() || stats.isSocket()) return stream;
  const output: Writable = createWriteStream('', { fd, autoClose: false });
  return Object.defineProperties(output, {
    isTTY: { value: stream.isTTY },
    columns: { get: () => stream.columns },
  });
}

function isSameFile(): boolean {
  const [stdout, stderr] = [fstatSync(STDOUT), fstatSync(STDERR)];
  return stdout.dev === stderr.dev && stdout.ino === stderr.ino;
}
