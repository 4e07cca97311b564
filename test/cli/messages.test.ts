import { once } from 'node:events';
import { mkdirSync, writeFileSync } from 'node:fs';
import { createServer, type AddressInfo } from 'node:net';
import { expect, onTestFinished, test } from 'vitest';
import { run } from '../../lib/cli/program.js';
import { scratchFiles } from '../scratch.js';
import { Authority, noCertificates } from '../unit/transport/certificates.js';
import { captureOutput } from './capture.js';

const scratch = scratchFiles();

/** What the command says last, of its end, and its exit code. */
async function failureOf(...args: readonly string[]): Promise<{ code: number; message: string }> {
  const output = captureOutput();
  const code = await run(args, output);
  expect(output.stdout.text).toBe('');
  return { code, message: output.stderr.text.trimEnd().split('\n').at(-1)! };
}

const none = (): string => scratch('none');
const junk = (): string => {
  const file = scratch('junk');
  writeFileSync(file, 'junk\n');
  return file;
};
const folder = (): string => {
  const path = scratch('folder');
  mkdirSync(path);
  return path;
};

// Each names what the user has to look at, and says once what is wrong with it.
test.each<[what: string, path: () => string, args: (path: string) => string[], message: string]>([
  [
    'a journal in a folder that is not there',
    () => `${none()}/journal`,
    (path) => ['receive', 'unix:/s', '--emulated', '--journal', path],
    '--journal: open the journal PATH: open failed with ENOENT; there is no such file or folder',
  ],
  [
    'a journal that is a folder',
    folder,
    (path) => ['resolve', '--journal', path],
    '--journal: open the journal PATH: open failed with EISDIR; it is a folder',
  ],
  [
    'a journal that is another file',
    junk,
    (path) => ['send', 'unix:/s', '--emulated', '--journal', path],
    '--journal: PATH is no journal: it does not begin as one; the guest runs on here',
  ],
  [
    'a snapshot that is not there',
    none,
    (path) => ['load', path, '--emulated'],
    'read the snapshot PATH: open failed with ENOENT; there is no such file or folder',
  ],
  [
    'a snapshot below a file',
    () => `${junk()}/x`,
    (path) => ['save', path, '--emulated=order=18,steps=0'],
    'write the snapshot PATH: stat failed with ENOTDIR; a part of the path is a file and no folder',
  ],
  [
    'a folder where a snapshot is to be',
    folder,
    (path) => ['save', path, '--emulated=order=18,steps=0'],
    'PATH is no regular file: a snapshot is written to one, or where nothing is',
  ],
  [
    'an image that is not there',
    none,
    (path) => ['save', '/nowhere', `--emulated=image=${path}`],
    '--emulated: read the image PATH: open failed with ENOENT; there is no such file or folder',
  ],
  [
    'a VMM that is not there',
    none,
    (path) => ['save', '/nowhere', '--htab-socket', path],
    '--htab-socket: connect to the VMM at PATH: connect failed with ENOENT; no VMM listens there: does it run, and is this the path of its control socket?',
  ],
  [
    'a VMM that is a file',
    junk,
    (path) => ['save', '/nowhere', '--htab-socket', path],
    '--htab-socket: connect to the VMM at PATH: connect failed with ECONNREFUSED; nobody listens there: does the VMM still run, and is this its control socket?',
  ],
  [
    'a destination that is not there',
    none,
    (path) => ['send', `unix:${path}`, '--emulated'],
    'connect to unix:PATH: connect failed with ENOENT; there is no such socket: does the destination run, and is this its path?; the guest runs on here',
  ],
  [
    'a file where a socket is to be',
    junk,
    (path) => ['receive', `unix:${path}`, '--emulated'],
    'listen at unix:PATH: listen failed with EADDRINUSE; another process listens there, or another file has this path',
  ],
  [
    'a socket in a folder that is not there',
    () => `${none()}/s`,
    (path) => ['receive', `unix:${path}`, '--emulated'],
    'listen at unix:PATH: listen failed with EACCES; this user may not listen there, or the folder does not exist',
  ],
  [
    'a certificate that is not there',
    none,
    (path) => ['receive', 'tls://127.0.0.1:0', '--emulated', '--cert', path, '--key', path, '--ca', path],
    '--cert: read PATH: open failed with ENOENT; there is no such file or folder',
  ],
])('%s is named', async (_what, pathOf, args, message) => {
  const path = pathOf();
  expect(await failureOf(...args(path))).toEqual({
    code: 1,
    message: `kvm-htab: ${message.replace('PATH', path)}`,
  });
});

test('a port that is in use is named, also that of --metrics', async () => {
  const server = createServer().listen(0, '127.0.0.1');
  onTestFinished(() => void server.close());
  await once(server, 'listening');
  const at = `127.0.0.1:${(server.address() as AddressInfo).port}`;
  const problem = 'listen failed with EADDRINUSE; another process listens there';
  const listening = await failureOf('receive', `tcp://${at}`, '--emulated');
  expect(listening.message).toBe(`kvm-htab: listen at tcp://${at}: ${problem}`);
  const metrics = await failureOf('receive', 'unix:/s', '--emulated', '--metrics', at);
  expect(metrics.message).toBe(`kvm-htab: --metrics: listen at ${at}: ${problem}`);
});

test('a host of several addresses, none of which answers, is named once', async () => {
  const { message } = await failureOf('send', 'tcp://localhost:1', '--emulated');
  expect(message).toBe(
    'kvm-htab: connect to tcp://localhost:1: connect failed with ECONNREFUSED; nobody listens there: does the destination run?; the guest runs on here',
  );
});

test('a host that nobody knows is named, with what to look at', async () => {
  for (const command of ['send', 'receive']) {
    const { code, message } = await failureOf(command, 'tcp://nobody.invalid:7000', '--emulated');
    expect(code).toBe(1);
    // A machine without any name server gets no answer at all.
    expect(message).toMatch(
      /kvm-htab: (connect to|listen at) tcp:\/\/nobody\.invalid:7000: getaddrinfo E.*; (nobody knows this host: is its name right|the name server does not answer)/,
    );
  }
});

test.each([
  ['order=20', '--emulated', 'order=20'],
  ['host=power8,rate=5', '--emulated', 'host=power8,rate=5', 'x'],
])('a spec apart from --emulated is asked back: %s', async (spec, ...args) => {
  expect(await failureOf('save', ...args)).toEqual({
    code: 2,
    message: `kvm-htab: did you mean --emulated=${spec}? (a file of that name is ./${spec})`,
  });
});

test('wrong usage is said as every other error', async () => {
  expect(await failureOf('send')).toEqual({
    code: 2,
    message: "kvm-htab: missing required argument 'address'; see --help",
  });
  expect((await failureOf('load', '--fast')).message).toBe("kvm-htab: unknown option '--fast'");
});

test.each([
  ['save', '--emulated=order=18,steps=0'],
  ['load', '--emulated'],
])('%s --json tells a program too that it has failed', async (command, place) => {
  const output = captureOutput();
  const file = `${none()}/x`;
  expect(await run([command, place, '--json', file], output)).toBe(1);
  expect(JSON.parse(output.stdout.text)).toMatchObject({
    event: 'failed',
    exitCode: 1,
    code: 'ERR_HTAB_SYSTEM',
    message: expect.stringContaining('ENOENT') as string,
  });
});

test('the path of a socket that the system would cut is wrong usage', async () => {
  const path = `/tmp/${'x'.repeat(103)}`;
  for (const args of [
    ['receive', `unix:${path}`, '--emulated'],
    ['save', '/nowhere', '--htab-socket', path],
  ]) {
    const { code, message } = await failureOf(...args);
    expect([code, message]).toEqual([2, expect.stringContaining('at most 107 bytes')]);
  }
});

test.skipIf(noCertificates !== undefined)('a file for TLS that holds something else is named', async () => {
  const authority = new Authority('fleet', scratch);
  const one = authority.issue('DNS:a');
  const other = authority.issue('DNS:b');
  const message = async (files: Partial<typeof one>): Promise<string> => {
    const { cert, key, ca } = { ...one, ...files };
    const tls = ['--cert', cert, '--key', key, '--ca', ca];
    return (await failureOf('receive', 'tls://127.0.0.1:0', '--emulated', ...tls)).message;
  };
  expect(await message({ cert: one.key })).toContain(`--cert: ${one.key} holds no certificate (PEM)`);
  expect(await message({ key: one.cert })).toContain(`--key: ${one.cert} holds no private key (PEM)`);
  expect(await message({ ca: one.key })).toContain(`--ca: ${one.key} holds no certificate (PEM)`);
  expect(await message({ key: other.key })).toContain('--cert and --key cannot be used together');
});
