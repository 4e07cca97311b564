import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { expect, onTestFinished, test } from 'vitest';
import { MAIN, notCompiled, startReceive } from './processes.js';

const hasPython = spawnSync('python3', ['--version']).status === 0;
if (!hasPython) process.stderr.write('skipping what needs a terminal: there is no python3\n');

/** Runs a command on a terminal whose output is held (Ctrl-S) until a line comes in; then prints what the terminal got. */
const TERMINAL = `
import os, pty, subprocess, sys, termios, threading, time
leader, terminal = pty.openpty()
termios.tcflow(terminal, termios.TCOOFF)
command = subprocess.Popen(sys.argv[1:], stdin=terminal, stdout=terminal, stderr=terminal)
got = bytearray()
def read():
    while True:
        try: got.extend(os.read(leader, 65536))
        except OSError: return
threading.Thread(target=read, daemon=True).start()
sys.stdin.readline()
held = len(got)
termios.tcflow(terminal, termios.TCOON)
status = command.wait()
os.close(terminal)
while b'digest' not in got: time.sleep(0.01)
print(held, status, got.decode())
`;

test.skipIf(notCompiled !== undefined || !hasPython)(
  'a terminal that takes nothing delays only what is printed to it',
  async () => {
    const { receiver, address } = await startReceive('tcp://127.0.0.1:0', '--emulated');
    const send = [
      process.execPath,
      MAIN,
      'send',
      address,
      '--emulated=order=18,steps=500',
      '--reconnect-ms',
      '0',
    ];
    const terminal = spawn('python3', ['-c', TERMINAL, ...send], { stdio: ['pipe', 'pipe', 'inherit'] });
    onTestFinished(() => {
      terminal.kill('SIGKILL');
    });
    let text = '';
    terminal.stdout.on('data', (chunk: Buffer) => (text += chunk.toString()));
    const closed = once(terminal, 'close');
    expect((await receiver.ended).code).toBe(0);
    terminal.stdin.end('\n');
    await closed;
    expect(text).toMatch(/^0 0 /);
    // In the order in which it was said, though some of it was for stdout.
    expect(text.search('pass 1')).toBeLessThan(text.search('digest'));
  },
);
