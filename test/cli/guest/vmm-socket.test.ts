import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { createServer, type Socket } from 'node:net';
import path from 'node:path';
import { describe, expect, onTestFinished, test, vi } from 'vitest';
import { VmmSocket } from '../../../lib/vm/kvm/vmm-socket.js';
import { scratchFolder } from '../../scratch.js';
import { until } from './until.js';

const folder = scratchFolder();
const LONG_MS = 60_000;
const SILENT = `no answer within ${LONG_MS} ms`;

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
