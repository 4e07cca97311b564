import { createServer } from 'node:net';
import { expect, onTestFinished, test } from 'vitest';
import { connectQmp, type QmpConnection } from '../../../lib/qemu/qmp/connection.js';
import { Lines, MAX_LINE_BYTES, type QmpEvent } from '../../../lib/qemu/qmp/messages.js';
import { scratchFiles } from '../../scratch.js';
import { CLOSED, FakeQemu, SILENT, qmpError, type Answers } from './fake-qemu.js';

const scratch = scratchFiles();
/** Long enough for a busy machine to answer, where a test waits for no answer. */
const BRIEF = { timeoutMs: 1000 };

async function fake(answers: Answers = {}, greeting?: string | typeof CLOSED): Promise<FakeQemu> {
  const qemu = await FakeQemu.start(scratch('qmp'), answers, greeting);
  onTestFinished(() => {
    qemu.close();
  });
  return qemu;
}

async function connected(qemu: FakeQemu, options = {}): Promise<QmpConnection> {
  const qmp = await connectQmp(qemu.path, options);
  onTestFinished(() => {
    qmp.close();
  });
  return qmp;
}

const refused = (pattern: RegExp): object => ({
  ...{ code: 'ERR_HTAB_UNAVAILABLE', reason: 'refused' },
  message: expect.stringMatching(pattern) as string,
});

test('a connection to a monitor tells the version, and executes commands with their arguments', async () => {
  const qemu = await fake({ echo: ({ arguments: args }: { arguments: unknown }) => args });
  const qmp = await connected(qemu);
  expect(qmp.version).toBe('10.0.2');
  expect(await qmp.execute('echo', { a: 1 })).toEqual({ a: 1 });
  expect(await qmp.execute('query-status')).toEqual({ status: 'running', running: true });
  expect(qemu.names()).toEqual(['qmp_capabilities', 'echo', 'query-status']);
});

test('answers find their commands by id, whatever order they come in', async () => {
  const qemu = await fake({ first: SILENT });
  const qmp = await connected(qemu);
  const first = qmp.execute('first');
  expect(await qmp.execute('second')).toEqual({});
  qemu.say({ return: 'late', id: qemu.asked[1]!.id });
  expect(await first).toBe('late');
});

test('an error of QMP is a sentence with what was asked, its class and its text', async () => {
  const qemu = await fake({
    migrate: qmpError('GenericError', 'Disallowing migration blocker.\u001b[31m'),
    nonsense: qmpError('CommandNotFound', 'The command nonsense has not been found'),
  });
  const qmp = await connected(qemu);
  await expect(qmp.execute('migrate')).rejects.toMatchObject(
    refused(
      /^the QEMU at .* refuses migrate: Disallowing migration blocker\.\\u001b\[31m \(GenericError\); see/,
    ),
  );
  await expect(qmp.execute('nonsense')).rejects.toMatchObject(
    refused(/has not been found \(CommandNotFound\); QEMU 10\.0\.2 is too old for it$/),
  );
  expect(await qmp.execute('other')).toEqual({});
});

test('events between answers reach those who listen, until they do not', async () => {
  const qemu = await fake();
  const qmp = await connected(qemu);
  const events: QmpEvent[] = [];
  const listening = qmp.onEvent((event) => events.push(event));
  const timestamp = { seconds: 12, microseconds: 345_600 };
  qemu.say({ event: 'STOP', timestamp });
  qemu.say('\n');
  await qmp.execute('query-status');
  listening[Symbol.dispose]();
  qemu.say({ event: 'RESUME', timestamp });
  await qmp.execute('query-status');
  expect(events).toEqual([{ name: 'STOP', data: {}, timeMs: 12_345.6 }]);
});

test.each([
  ['closes', CLOSED, /did not greet: the connection (ended|failed)/],
  ['says nothing, as one with another client', '', /no word within 1000 ms; a monitor serves one client/],
  ['sends what is not JSON', 'SSH-2.0-OpenSSH_9.2\r\n', /it does not speak QMP: it sent "SSH-2\.0/],
  ['sends another kind of JSON', '[1]\n', /it does not speak QMP: it sent "\[1\]"/],
  ['sends a word of JSON', 'null\n', /it does not speak QMP: it sent "null"/],
  ['answers before it is asked', '{"return": {}}\n', /it answered what was not asked/],
  ['sends a line without an end', 'x'.repeat(MAX_LINE_BYTES + 1), /a line of more than 4194304 bytes/],
] as const)('a monitor that %s instead of greeting is refused', async (_, greeting, pattern) => {
  const qemu = await fake({}, greeting);
  // Only where nothing comes does a test wait for the limit.
  const options = greeting === '' ? BRIEF : {};
  await expect(connectQmp(qemu.path, options)).rejects.toMatchObject(refused(pattern));
});

test.each([
  ['is closed', CLOSED, {}, /did not answer qmp_capabilities: the connection (ended|failed)/],
  ['is not answered', SILENT, BRIEF, /did not answer qmp_capabilities: no answer within 1000 ms/],
  ['is refused', qmpError('GenericError', 'no'), {}, /refuses qmp_capabilities: no \(GenericError\)/],
] as const)('a monitor at which the first command %s is refused', async (_, answer, options, pattern) => {
  const qemu = await fake({ qmp_capabilities: answer });
  await expect(connectQmp(qemu.path, options)).rejects.toMatchObject(refused(pattern));
});

test('a silent command times out, its late answer is thrown away, and the next one is answered', async () => {
  const qemu = await fake({ slow: SILENT });
  const qmp = await connected(qemu, BRIEF);
  await expect(qmp.execute('slow')).rejects.toMatchObject(
    refused(/did not answer slow: no answer within 1000 ms/),
  );
  qemu.say({ return: 'late', id: qemu.asked[1]!.id });
  expect(await qmp.execute('next')).toEqual({});
});

test.each([
  ['that closes', (qemu: FakeQemu) => { qemu.close(); }, /the connection (ended|failed)/], // prettier-ignore
  ['that sends garbage', (qemu: FakeQemu) => { qemu.say('{"return": \n'); }, /it does not speak QMP/], // prettier-ignore
  ['that answers twice', (qemu: FakeQemu) => { qemu.say({ return: {}, id: 1 }); }, /what was not asked/], // prettier-ignore
  ['that could not read a line', (qemu: FakeQemu) => { qemu.say({ error: { class: 'GenericError', desc: 'JSON parse error' } }); }, /what was not asked: JSON parse error/], // prettier-ignore
])('a monitor %s fails every call that waits, and every later one', async (_, act, pattern) => {
  const qemu = await fake({ a: SILENT, b: SILENT });
  const qmp = await connected(qemu);
  const waiting = [qmp.execute('a'), qmp.execute('b')];
  await qmp.execute('c');
  act(qemu);
  const results = await Promise.allSettled([...waiting, waiting[1]!.catch(() => qmp.execute('d'))]);
  expect(results.map((each) => (each.status === 'rejected' ? String(each.reason) : 'answered'))).toEqual(
    ['a', 'b', 'd'].map((name) => expect.stringMatching(new RegExp(`did not answer ${name}: .*${pattern.source}`)) as string), // prettier-ignore
  );
});

test('closing a connection fails the calls that wait', async () => {
  const qmp = await connected(await fake({ a: SILENT }));
  const waiting = qmp.execute('a');
  qmp[Symbol.dispose]();
  await expect(waiting).rejects.toMatchObject(refused(/did not answer a: it was closed here/));
});

test('a path without a monitor is an error of the system', async () => {
  await expect(connectQmp(scratch('none'))).rejects.toMatchObject({
    ...{ code: 'ERR_HTAB_SYSTEM', syscall: 'connect', errnoName: 'ENOENT' },
    message: expect.stringMatching(/^connect to the QMP monitor at /) as string,
  });
});

test('a signal ends the attempt to connect with its reason', async () => {
  const path = scratch('qmp');
  const server = createServer().listen({ path });
  onTestFinished(() => {
    server.close();
  });
  const controller = new AbortController();
  const connecting = connectQmp(path, { signal: controller.signal });
  controller.abort(new Error('enough'));
  await expect(connecting).rejects.toThrow('enough');
  await expect(connectQmp(path, { signal: controller.signal })).rejects.toThrow('enough');
});

test('wrong arguments are refused before anything is connected', async () => {
  await expect(connectQmp('a\0b')).rejects.toMatchObject({ code: 'ERR_INVALID_ARG_VALUE', option: 'path' });
  await expect(connectQmp('x', { timeoutMs: 0 })).rejects.toMatchObject({ code: 'ERR_OUT_OF_RANGE' });
  await expect(connectQmp('x', { timeout: 1 } as object)).rejects.toThrow(/no option "timeout"/);
  const qmp = await connected(await fake());
  await expect(qmp.execute(1 as unknown as string)).rejects.toMatchObject({ option: 'command' });
  await expect(qmp.execute('a', 'b' as unknown as object)).rejects.toMatchObject({ option: 'args' });
  expect(() => qmp.onEvent({} as () => void)).toThrow(TypeError);
});

test('lines come together from chunks that are cut anywhere', () => {
  const lines = new Lines();
  const text = Buffer.from('{"a": "ä"}\r\n\n{"b": 1}\n{');
  const read = [...text].flatMap((byte) => [...lines.push(Buffer.from([byte]))]);
  expect(read.map((line) => JSON.parse(line) as unknown)).toEqual([{ a: 'ä' }, { b: 1 }]);
  expect([...lines.push(Buffer.from('}\n{"c": 2}\n'))].map((line) => line.trim())).toEqual([
    '{}',
    '{"c": 2}',
  ]);
});
