import { once } from 'node:events';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer, type Socket } from 'node:net';
import path from 'node:path';
import { describe, expect, onTestFinished, test, vi } from 'vitest';
import { VmmSocket } from '../../../lib/vm/kvm/vmm-socket.js';
import { Hooks } from '../../../lib/cli/guest/hooks.js';
import { hooksOf } from '../../../lib/cli/guest/hook-options.js';
import { UsageError } from '../../../lib/cli/errors/usage-error.js';
import { GuestControl } from '../../../lib/precopy/guest-control.js';
import { scratchFolder } from '../../scratch.js';

const folder = scratchFolder();
const LONG_MS = 60_000;
const SILENT = `no answer within ${LONG_MS} ms`;

describe('commands', () => {
  function hooks(command: string, timeoutMs = LONG_MS): Hooks {
    return new Hooks({ onPause: command, onResume: command, onThrottle: command }, timeoutMs);
  }

  test('are run by a shell, and waited for', async () => {
    const file = path.join(folder, 'log');
    const control = new Hooks(
      {
        onPause: `echo paused >> ${file}`,
        onResume: `echo resumed >> ${file}`,
        onThrottle: `echo throttled $KVM_HTAB_THROTTLE >> ${file}`,
      },
      LONG_MS,
    );
    await control.pause();
    await control.throttle?.(3);
    await control.resume();
    expect(readFileSync(file, 'utf8')).toBe('paused\nthrottled 3\nresumed\n');
  });

  test('fail if they end with another status than 0, or by a signal', async () => {
    await expect(hooks('exit 7').pause()).rejects.toThrow(
      'the command of --on-pause ended with status 7: exit 7',
    );
    await expect(hooks('kill -TERM $$').resume()).rejects.toThrow(
      'the command of --on-resume was ended by SIGTERM',
    );
  });

  test('are killed with all they have started when their time is over', async () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
    onTestFinished(() => {
      vi.useRealTimers();
    });
    const file = path.join(folder, 'pid');
    const pausing = hooks(`sleep 1000 & echo $! > ${file}; wait`).pause();
    const refused = expect(pausing).rejects.toThrow(`was ended by SIGKILL (it may take ${LONG_MS} ms)`);
    await until(() => existsSync(file) && readFileSync(file, 'utf8') !== '');
    vi.advanceTimersByTime(LONG_MS);
    await refused;
    const sleeper = readFileSync(file, 'utf8').trim();
    await until(() => !isRunning(sleeper));
  });

  test('are out of the reach of a terminal: Ctrl-C does not end the one that resumes the guest', async () => {
    const file = path.join(folder, 'group');
    await hooks(`cut -d' ' -f5 /proc/self/stat > ${file}`).resume();
    const [, , , , ours] = readFileSync('/proc/self/stat', 'utf8')
      .replace(/\(.*\)/, '')
      .split(/ +/);
    expect(readFileSync(file, 'utf8').trim()).not.toBe(ours);
  });

  test('that are given up while they stop the guest have stopped it before it is resumed', async () => {
    const [begun, go, file] = ['begun', 'go', 'order'].map((name) => path.join(folder, name)) as [
      string,
      string,
      string,
    ];
    const onPause = `touch ${begun}; while [ ! -e ${go} ]; do sleep 0.01; done; echo paused >> ${file}`;
    const guest = new GuestControl(
      new Hooks({ onPause, onResume: `echo resumed >> ${file}` }, LONG_MS),
      LONG_MS,
    );
    const stop = new AbortController();
    const refused = expect(guest.pause(stop.signal)).rejects.toThrow('enough');
    await until(() => existsSync(begun));
    stop.abort(new Error('enough'));
    await refused;
    const resumed = guest.resume();
    writeFileSync(go, '');
    await resumed;
    expect(readFileSync(file, 'utf8')).toBe('paused\nresumed\n');
  });

  test('cannot slow the guest down unless there is one for that', () => {
    expect(new Hooks({ onPause: 'true', onResume: 'true' }, LONG_MS).throttle).toBeUndefined();
  });

  test('come in pairs', () => {
    for (const options of [{ onPause: 'x' }, { onResume: 'x' }, { onThrottle: 'x' }]) {
      expect(() => hooksOf({ ...options, pauseTimeoutMs: LONG_MS })).toThrow(UsageError);
    }
    expect(hooksOf({ pauseTimeoutMs: LONG_MS })).toBeUndefined();
  });
});

describe('the control socket', () => {
  let sockets = 0;

  /** A VMM that answers every request with the next of these lines; `undefined` closes the connection instead. */
  async function startVmm(
    ...answers: (string | undefined)[]
  ): Promise<{ socketPath: string; requests: string[]; connections: Socket[] }> {
    const socketPath = path.join(folder, `vmm-${sockets++}`);
    const requests: string[] = [];
    const connections: Socket[] = [];
    const server = createServer((socket) => {
      connections.push(socket);
      socket.setEncoding('utf8').on('data', (text: string) => {
        requests.push(text);
        const answer = answers.shift();
        if (answer === undefined) socket.destroy();
        else socket.write(answer);
      });
    }).listen(socketPath);
    await once(server, 'listening');
    onTestFinished(() => {
      server.close();
      for (const socket of connections) socket.destroy();
    });
    return { socketPath, requests, connections };
  }

  async function open(socketPath: string, timeoutMs = LONG_MS): Promise<VmmSocket> {
    const control = await VmmSocket.open(socketPath, { timeoutMs });
    onTestFinished(() => {
      control.close();
    });
    return control;
  }

  test('carries one line a request and one line an answer, over one connection', async () => {
    const { socketPath, requests, connections } = await startVmm('ok paused\n', 'ok\n', 'ok\n');
    const control = await open(socketPath);
    await control.pause();
    await control.throttle(2);
    await control.resume();
    expect(requests).toEqual(['pause\n', 'throttle 2\n', 'resume\n']);
    expect(connections.length).toBe(1);
  });

  test.each([
    ['error it faults\n', 'refuses to pause: "error it faults"'],
    ['okay\n', 'refuses to pause: "okay"'],
    ['\n', 'refuses to pause: ""'],
    ['ok\nok\n', 'did not pause: there is more than one answer'],
    ['x'.repeat(5000), 'did not pause: the answer is too long'],
    [undefined, 'did not pause: the connection ended'],
  ])('does not take %j for done', async (answer, message) => {
    const { socketPath } = await startVmm(answer);
    const control = await open(socketPath);
    await expect(control.pause()).rejects.toMatchObject({
      code: 'ERR_HTAB_UNAVAILABLE',
      message: expect.stringContaining(message) as unknown,
    });
  });

  test('is connected to anew if the connection broke: the guest is resumed all the same', async () => {
    const { socketPath, requests, connections } = await startVmm(undefined, 'ok\n');
    const control = await open(socketPath);
    await expect(control.pause()).rejects.toThrow('did not pause');
    await control.resume();
    expect(requests).toEqual(['pause\n', 'resume\n']);
    expect(connections.length).toBe(2);
  });

  /** Asks for `throttle 1`, and waits until a second answer to it has come. */
  async function askAndHearTwice(control: VmmSocket, connections: Socket[]): Promise<void> {
    await control.throttle(1);
    await new Promise<void>((resolve) => {
      connections[0]!.write('ok slow\n', () => {
        resolve();
      });
    });
  }

  test('does not take an answer too many for that to the next request, which is not made', async () => {
    const { socketPath, requests, connections } = await startVmm('ok\n', '');
    const control = await open(socketPath, 1000);
    await askAndHearTwice(control, connections);
    await expect(control.pause()).rejects.toMatchObject({
      code: 'ERR_HTAB_UNAVAILABLE',
      message: expect.stringContaining('did not pause: there is more than one answer') as unknown,
    });
    expect(requests).toEqual(['throttle 1\n']);
  });

  test.each([
    ['resume\n', (control: VmmSocket) => control.resume()],
    ['throttle 0\n', (control: VmmSocket) => control.throttle(0)],
  ])('asks over another connection after an answer too many, for %j', async (request, ask) => {
    const { socketPath, requests, connections } = await startVmm('ok\n', 'ok\n');
    const control = await open(socketPath, 1000);
    await askAndHearTwice(control, connections);
    await ask(control);
    expect(requests).toEqual(['throttle 1\n', request]);
    expect(connections.length).toBe(2);
  });

  /** A VMM, and requests to it whose time is over once it has them, not before. */
  async function startSlowVmm(...answers: string[]): Promise<
    Awaited<ReturnType<typeof startVmm>> & {
      control: VmmSocket;
      /** Makes a request that the VMM gets, and gives up. */
      giveUp: (request: (control: VmmSocket) => Promise<void>) => Promise<void>;
    }
  > {
    let clock = new AbortController();
    const timeout = vi
      .spyOn(AbortSignal, 'timeout')
      .mockImplementation(() => (clock = new AbortController()).signal);
    onTestFinished(() => {
      timeout.mockRestore();
    });
    const vmm = await startVmm(...answers);
    const control = await open(vmm.socketPath);
    const giveUp = async (request: (control: VmmSocket) => Promise<void>): Promise<void> => {
      const count = vmm.requests.length;
      const asked = request(control);
      const refused = expect(asked).rejects.toThrow(SILENT);
      await until(() => vmm.requests.length > count);
      clock.abort();
      await refused;
    };
    return { ...vmm, control, giveUp };
  }

  test('does not wait for ever for an answer', async () => {
    const { giveUp } = await startSlowVmm('');
    await giveUp((control) => control.pause());
  });

  test.each([
    ['ok\nok\n', undefined],
    ['error it faults\nok\n', undefined],
    ['ok\nerror gone\n', 'refuses to resume: "error gone"'],
    ['ok\n', SILENT],
    ['ok\nok\nok\n', 'did not resume: there is more than one answer'],
  ])('resumes after a pause that was not answered, and reads %j as: %s', async (answers, message) => {
    const { requests, connections, control, giveUp } = await startSlowVmm('', answers);
    await giveUp((control) => control.pause());
    if (message === undefined) await control.resume();
    else if (message === SILENT) await giveUp((control) => control.resume());
    else await expect(control.resume()).rejects.toThrow(message);
    // Over a second connection it could be done first, and the guest would be stopped after it.
    expect([requests, connections.length]).toEqual([['pause\n', 'resume\n'], 1]);
  });

  test('asks for full speed after a request to slow down that was not answered', async () => {
    const { requests, connections, control, giveUp } = await startSlowVmm('', 'ok\nok\n', 'ok\n');
    await giveUp((control) => control.throttle(1));
    await control.throttle(0);
    await control.pause();
    expect([requests, connections.length]).toEqual([['throttle 1\n', 'throttle 0\n', 'pause\n'], 1]);
  });

  test.each([
    ['ok\n', 1],
    ['ok\nok\n', 2],
  ])('resumes a guest whose pause was answered late, with %j, over %i connections', async (late, count) => {
    const { requests, connections, control, giveUp } = await startSlowVmm('', 'ok\n');
    await giveUp((control) => control.pause());
    await new Promise<void>((resolve) => {
      connections[0]!.write(late, () => {
        resolve();
      });
    });
    await control.resume();
    expect([requests, connections.length]).toEqual([['pause\n', 'resume\n'], count]);
  });

  test('is connected to anew once neither of two requests was answered', async () => {
    const { requests, connections, control, giveUp } = await startSlowVmm('', '', 'ok\n');
    await giveUp((control) => control.pause());
    await giveUp((control) => control.resume());
    await control.throttle(0);
    expect([requests, connections.length]).toEqual([['pause\n', 'resume\n', 'throttle 0\n'], 2]);
  });

  test('must be there from the beginning', async () => {
    const file = path.join(folder, 'nobody');
    const refusal = {
      code: 'ERR_HTAB_SYSTEM',
      syscall: 'connect',
      operation: `connect to the VMM at ${file}`,
    };
    await expect(open(file)).rejects.toMatchObject({
      ...refusal,
      errnoName: 'ENOENT',
    });
    writeFileSync(file, '');
    await expect(open(file)).rejects.toMatchObject({
      ...refusal,
      errnoName: 'ECONNREFUSED',
      hint: expect.stringContaining('no process listens there') as unknown,
    });
  });
});

async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise((resolve) => setImmediate(resolve));
}

/** A process that has ended may stand around until its parent asks for its status. */
function isRunning(pid: string): boolean {
  const file = `/proc/${pid}/stat`;
  return existsSync(file) && !readFileSync(file, 'utf8').includes(') Z ');
}
