import { createWriteStream, fstatSync } from 'node:fs';
import type { Writable } from 'node:stream';
import type { WriteStream } from 'node:tty';
import { hasTerminal } from './foreground.js';
import type { Output } from './output.js';

const STDOUT = 1;
const STDERR = 2;

/**
 * Standard output and error that never block the process. Node writes to terminals and files synchronously: one that
 * takes nothing (Ctrl-S, a connection that has died, a hung disk) would stop every timer while a guest is stopped.
 */
export function standardStreams(): Output {
  // Two streams would reach one terminal in any order.
  if (isSameFile()) {
    const both = asynchronous(process.stdout, STDOUT, isOwnTerminal(process.stdout));
    return { stdout: both, stderr: both };
  }
  return {
    stdout: asynchronous(process.stdout, STDOUT, process.stdout.isTTY),
    stderr: asynchronous(process.stderr, STDERR, isOwnTerminal(process.stderr)),
  };
}

/** A terminal that other processes write to as well gets whole lines, as a file does. */
function isOwnTerminal({ isTTY }: WriteStream): boolean {
  return isTTY && hasTerminal();
}

/** Node's own writes to pipes and sockets do not wait for the reader; those streams are used as they are. */
function asynchronous(stream: WriteStream, fd: number, isTTY: boolean): Output['stderr'] {
  const stats = fstatSync(fd);
  if (stats.isFIFO() || stats.isSocket()) return stream;
  const output: Writable = createWriteStream('', { fd, autoClose: false });
  return Object.defineProperties(output, {
    isTTY: { value: isTTY },
    columns: { get: () => stream.columns },
  });
}

function isSameFile(): boolean {
  const [stdout, stderr] = [fstatSync(STDOUT), fstatSync(STDERR)];
  return stdout.dev === stderr.dev && stdout.ino === stderr.ino;
}
