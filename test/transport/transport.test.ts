import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, statSync, writeFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { inheritedSocket } from '../../lib/transport/activation.js';
import { connect, listen } from '../../lib/transport/transport.js';
import { scratchFiles } from '../scratch.js';
import { listenAt, connectTo, expectConnected, next } from './connections.js';

const temporary = scratchFiles();

describe('plaintext', () => {
  test.each(['tcp://127.0.0.1:0', 'tcp://[::1]:0', 'tcp://localhost:0'])('goes over %s', async (address) => {
    const { listener, connections } = await listenAt(address);
    expect(listener.address).toMatch(/^tcp:\/\/(127\.0\.0\.1|\[::1\]):[1-9]\d*$/);
    const ours = await connectTo(listener.address);
    await expectConnected(ours, await next(connections));
  });

  test('goes over a Unix socket that only its owner can connect to', async () => {
    const socket = temporary('socket');
    const { listener, connections } = await listenAt(`unix:${socket}`);
    expect(listener.address).toBe(`unix:${socket}`);
    expect(statSync(socket).mode & 0o777).toBe(0o600);
    const ours = await connectTo(listener.address);
    await expectConnected(ours, await next(connections));
    listener.close();
    expect(existsSync(socket)).toBe(false);
  });

  test.each(['tcp://0.0.0.0:0', 'tcp://[::]:0', 'tcp://192.0.2.1:7000'])(
    'is refused beyond this machine, listening at %s',
    async (address) => {
      await expect(listenAt(address)).rejects.toThrow(/without TLS/);
    },
  );

  test('is refused beyond this machine, connecting to an address or to a name that leads there', async () => {
    await expect(connectTo('tcp://192.0.2.1:7000')).rejects.toThrow(/192\.0\.2\.1 .*without TLS/);
    // The machine's own name would do, but not every machine resolves it: 0.0.0.0 as a name of other spelling does.
    await expect(connectTo('tcp://0x0.0:7000')).rejects.toThrow(/0\.0\.0\.0 .*without TLS/);
  });

  test('to an unknown host fails, and does not end the process', async () => {
    await expect(connectTo('tcp://nobody.invalid:7000')).rejects.toThrow(/nobody\.invalid/);
  });

  test('may leave this machine with insecurePlaintext', async () => {
    const { listener, connections } = await listenAt('tcp://0.0.0.0:0', { insecurePlaintext: true });
    const port = listener.address.split(':').at(-1)!;
    const ours = await connectTo(`tcp://127.0.0.1:${port}`);
    await expectConnected(ours, await next(connections));
  });

  test('has no certificates', async () => {
    for (const options of [{ cert: 'x' }, { key: 'x' }, { ca: 'x' }, { peerName: 'x' }]) {
      const refusal = { code: 'ERR_INVALID_ARG_VALUE', option: Object.keys(options)[0] };
      await expect(connectTo('tcp://127.0.0.1:1', options)).rejects.toMatchObject(refusal);
      await expect(listenAt('unix:/nowhere', options)).rejects.toMatchObject(refusal);
    }
  });
});

describe.each([
  ['listen', listen],
  ['connect', connect],
])('%s', (_name, call) => {
  test.each(['', 'localhost', 'http://localhost:1', 'tls://localhost', 'tcp://::1:7000', 'unix:'])(
    'refuses the address %j, and says what is expected',
    async (address) => {
      await expect(call(address)).rejects.toMatchObject({
        name: 'TypeError',
        code: 'ERR_INVALID_ARG_VALUE',
        message: expect.stringContaining(`tls://HOST:PORT`) as unknown,
      });
    },
  );

  test('refuses arguments of the wrong type', async () => {
    const code = 'ERR_INVALID_ARG_TYPE';
    await expect(call(7000 as never)).rejects.toMatchObject({ name: 'TypeError', code });
    await expect(call('unix:/nowhere', null as never)).rejects.toMatchObject({ name: 'TypeError', code });
  });
});

describe('a listener', () => {
  test('is closed at the end of a using block', async () => {
    let at: string;
    {
      using listener = await listen('tcp://127.0.0.1:0');
      at = listener.address;
    }
    await expect(connect(at)).rejects.toMatchObject({ errnoName: 'ECONNREFUSED' });
  });

  test('gives connections in the order they came in', async () => {
    const { listener, connections } = await listenAt('tcp://127.0.0.1:0');
    const channels = [];
    for (let i = 0; i < 3; i++) channels.push(await connectTo(listener.address));
    for (const channel of channels) await expectConnected(channel, await next(connections));
  });

  test('drops those that nobody has asked for when it is closed, and keeps the others', async () => {
    const { listener, connections } = await listenAt('tcp://127.0.0.1:0');
    const kept = await connectTo(listener.address);
    const theirs = await next(connections);
    const dropped = await connectTo(listener.address);
    await expectConnected(kept, theirs);
    listener.close();
    await once(dropped.resume(), 'close');
    await expectConnected(kept, theirs);
    expect(await connections.next()).toEqual({ value: undefined, done: true });
    await expect(connectTo(listener.address)).rejects.toMatchObject({ errnoName: 'ECONNREFUSED' });
  });

  test('takes over the Unix socket of a process that was killed, and none that somebody listens at', async () => {
    const socket = temporary('socket');
    const program = `require('net').createServer().listen(${JSON.stringify(socket)}, () => console.log())`;
    const child = spawn(process.execPath, ['-e', program], { stdio: ['ignore', 'pipe', 'inherit'] });
    await once(child.stdout, 'data');
    await expect(listenAt(`unix:${socket}`)).rejects.toMatchObject({ errnoName: 'EADDRINUSE' });
    child.kill('SIGKILL');
    await once(child, 'exit');
    const { listener, connections } = await listenAt(`unix:${socket}`);
    await expectConnected(await connectTo(listener.address), await next(connections));
  });

  test('does not take a file for a socket', async () => {
    const file = temporary('file');
    writeFileSync(file, 'precious');
    await expect(listenAt(`unix:${file}`)).rejects.toMatchObject({ errnoName: 'EADDRINUSE' });
    expect(statSync(file).size).toBe(8);
  });

  test('at "systemd" needs the one socket that systemd passes, and leaves no trace of it to children', async () => {
    await expect(listenAt('systemd')).rejects.toThrow('systemd has passed no socket');
    const passed = (pid: string, count: string): NodeJS.ProcessEnv => ({
      LISTEN_PID: pid,
      LISTEN_FDS: count,
      LISTEN_FDNAMES: 'x',
      PATH: '/bin',
    });
    const environment = passed(String(process.pid), '1');
    expect(inheritedSocket(environment)).toBe(3);
    expect(environment).toEqual({ PATH: '/bin' });
    expect(() => inheritedSocket(passed('1', '1'))).toThrow('systemd has passed no socket');
    expect(() => inheritedSocket(passed(String(process.pid), '2'))).toThrow('systemd has passed 2 sockets');
  });
});

describe('connecting', () => {
  test('ends with the reason of an aborted signal', async () => {
    const signal = AbortSignal.abort(new Error('enough'));
    await expect(connect('unix:/nowhere', { signal })).rejects.toThrow('enough');
  });

  test('fails as the system says', async () => {
    await expect(connectTo('unix:/nowhere')).rejects.toMatchObject({ errnoName: 'ENOENT' });
    await expect(connectTo('systemd')).rejects.toMatchObject({
      code: 'ERR_INVALID_ARG_VALUE',
      option: 'address',
    });
  });
});
