import { execFile, spawnSync } from 'node:child_process';
import { promisify } from 'node:util';
import { expect, test } from 'vitest';
import { isForeground } from '../../lib/cli/foreground.js';
import { scratchFiles } from '../scratch.js';
import { MAIN, notCompiled } from './processes.js';

const scratch = scratchFiles();
const hasPython = spawnSync('python3', ['--version']).status === 0;
if (!hasPython) process.stderr.write('skipping what needs a terminal: there is no python3\n');

/** Runs a command on a terminal of its own; prints its status and all that the terminal got. */
const TERMINAL = `
import os, pty, sys
pid, leader = pty.fork()
if pid == 0: os.execvp(sys.argv[1], sys.argv[1:])
got = bytearray()
while True:
    try: part = os.read(leader, 65536)
    except OSError: break
    if not part: break
    got.extend(part)
print(os.waitpid(pid, 0)[1], got.decode())
`;

const HIDDEN_CURSOR = '\u001b[?25l';

test.skipIf(notCompiled !== undefined || !hasPython).each([
  ['in the foreground of a shell', ['-c', 'COMMAND'], true],
  ['in the background of a shell with jobs', ['-mc', 'COMMAND & wait $!'], false],
  ['in the background of a script', ['-c', 'COMMAND & wait $!'], false],
])('a command %s: whether there is a bar', async (_where, shell, bar) => {
  const command = `'${process.execPath}' ${MAIN} save --emulated=order=18,steps=100 ${scratch('table')}`;
  const args = shell.map((each) => each.replace('COMMAND', command));
  const { stdout } = await promisify(execFile)('python3', ['-c', TERMINAL, '/bin/sh', ...args]);
  expect(stdout).toMatch(/^0 /);
  expect(stdout).toMatch(/pass 1\b/);
  expect(stdout.includes(HIDDEN_CURSOR)).toBe(bar);
});

test.each([
  ['1 (node) S 9 77 70 34816 77 0', true],
  ['1 (node) S 9 77 70 34816 76 0', false],
  ['1 (a ) b (c) S 9 77 70 34816 77 0', true],
  ['', true],
])('%j: in the foreground is %s', (stat, foreground) => {
  expect(isForeground(stat)).toBe(foreground);
});
