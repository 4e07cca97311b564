import type { Socket } from 'node:net';
import { describe, expect, onTestFinished, test } from 'vitest';
import { run } from '../../../lib/cli/program.js';
import { connectQmp, type QmpConnection } from '../../../lib/qemu/qmp/connection.js';
import { readQemuTable } from '../../../lib/qemu/qmp/read-qemu-table.js';
import type { QemuTablePlan } from '../../../lib/qemu/qmp/qemu-table-options.js';
import { captureOutput } from '../../cli/capture.js';
import { scratchFiles } from '../../scratch.js';
import { CLOSED, type FakeQemu, qmpError, type Answers } from './fake-qemu.js';
import { MigratingQemu, OFF, STOP, STREAM } from './migrating-qemu.js';

const scratch = scratchFiles();
/** What a destination says that could not load a guest. */
const NOT_LOADED = Buffer.of(0, 1, 0, 4, 0, 0, 0, 1);

/** A QEMU that can migrate, and a connection to its monitor. */
async function startMigrating(
  send?: (socket: Socket, qemu: FakeQemu) => void,
  answers: Answers = {},
): Promise<MigratingQemu & { readonly qmp: QmpConnection }> {
  const made = await MigratingQemu.start(scratch('qmp'), send, answers);
  const qmp = await connectQmp(made.qemu.path);
  onTestFinished(() => {
    qmp.close();
    made.qemu.close();
  });
  return Object.assign(made, { qmp });
}

test('a table is taken from a migration that QEMU is told to throw away', async () => {
  const { qemu, qmp } = await startMigrating();
  const plans: QemuTablePlan[] = [];
  const { stream, stopMs, guestState } = await readQemuTable(qmp, { onBegin: (plan) => plans.push(plan) });
  expect([stream.table?.validCount, stream.findings, guestState]).toEqual([2, expect.any(Array), 'running']);
  expect(stopMs).toBeCloseTo(62.5);
  expect(plans).toEqual([{ bytes: 123, sharedBytes: 100, running: true }]);
  expect(qemu.names()).not.toContain('cont');
});

test('QEMU is set up for it, hears that it was not loaded, and is set back', async () => {
  const made = await startMigrating();
  await readQemuTable(made.qmp);
  expect(made.during).toEqual([
    { 'return-path': true, 'x-ignore-shared': true, multifd: false, events: true, 'postcopy-ram': false },
    { 'max-bandwidth': 2 ** 40, 'tls-creds': '' },
  ]);
  expect(made.heard).toEqual(NOT_LOADED);
  expect([made.capabilities, made.parameters]).toEqual([OFF, { 'max-bandwidth': 7, 'tls-creds': 'tls0' }]);
});

test.each([
  ['that is no stream', (socket: Socket) => { socket.write('SSH-2.0-x\n'); }, { code: 'ERR_HTAB_FORMAT' }], // prettier-ignore
  ['that ends too early', (socket: Socket) => { socket.end(STREAM.subarray(0, 60)); }, { code: 'ERR_HTAB_FORMAT' }], // prettier-ignore
  ['that breaks', (socket: Socket) => { socket.write(STREAM.subarray(0, 60), () => socket.destroy()); }, { code: 'ERR_HTAB_FORMAT' }], // prettier-ignore
])('of a migration %s the guest runs on, and QEMU is set back', async (_, send, error) => {
  const made = await startMigrating(send);
  await expect(readQemuTable(made.qmp)).rejects.toMatchObject(error);
  expect([made.qemu.state.migration, made.capabilities]).toEqual([{ status: 'failed' }, OFF]);
});

test('a guest that stands still for too long is let go on', async () => {
  const made = await startMigrating((socket, qemu) => {
    qemu.say(STOP);
    socket.write(STREAM.subarray(0, 60));
  });
  await expect(readQemuTable(made.qmp, { stopLimitMs: 50 })).rejects.toMatchObject({
    ...{ code: 'ERR_HTAB_STATE', state: 'busy', option: 'stopLimitMs' },
  });
  expect([made.qemu.state.migration, made.capabilities]).toEqual([{ status: 'failed' }, OFF]);
});

test('an abort in the middle rejects with its reason once the migration has ended', async () => {
  const controller = new AbortController();
  const made = await startMigrating((socket) => {
    socket.write(STREAM.subarray(0, 60));
    controller.abort(new Error('interrupted'));
  });
  await expect(readQemuTable(made.qmp, { signal: controller.signal })).rejects.toThrow('interrupted');
  expect([made.qemu.state.migration, made.capabilities]).toEqual([{ status: 'failed' }, OFF]);
});

test('a guest that QEMU calls migrated is not let run: it may run elsewhere', async () => {
  const made = await startMigrating((socket, qemu) => {
    Object.assign(qemu.state, { status: 'postmigrate', migration: { status: 'completed' } });
    socket.write(STREAM);
  });
  await expect(readQemuTable(made.qmp)).rejects.toMatchObject({
    code: 'ERR_HTAB_IN_DOUBT',
    message: expect.stringMatching(/says postmigrate: another client has migrated the guest/) as string,
  });
  expect(made.qemu.names()).not.toContain('cont');
});

test('a guest that someone else has stopped meanwhile is left so', async () => {
  const made = await startMigrating((socket, qemu) => {
    qemu.state.status = 'paused';
    socket.write(STREAM);
  });
  expect(await readQemuTable(made.qmp)).toMatchObject({ guestState: 'paused' });
  expect(made.qemu.names()).not.toContain('cont');
});

test('a guest that is not known to run is an error of its own, with what came before', async () => {
  const made = await startMigrating((socket, qemu) => {
    Object.assign(qemu.state, { status: 'postmigrate', migration: { status: 'completed' } });
    socket.write('garbage!');
  });
  await expect(readQemuTable(made.qmp)).rejects.toMatchObject({
    code: 'ERR_HTAB_IN_DOUBT',
    cause: { message: expect.stringMatching(/not a migration stream/) as string },
  });
  expect(made.capabilities).toEqual(OFF);
  const lost = await startMigrating((_, qemu) => {
    qemu.close();
  });
  await expect(readQemuTable(lost.qmp)).rejects.toMatchObject({ code: 'ERR_HTAB_GUEST_STOPPED' });
});

test.each([
  [
    'refuses to migrate',
    { migrate: qmpError('GenericError', 'blocked by device x') },
    /refuses migrate: blocked by/,
  ],
  [
    'has no return path',
    { 'query-migrate-capabilities': [{ capability: 'xbzrle', state: false }] },
    /no return path/,
  ],
  [
    'refuses its settings',
    { 'migrate-set-capabilities': qmpError('GenericError', 'no') },
    /refuses migrate-set-cap/,
  ],
  [
    'refuses a parameter',
    { 'migrate-set-parameters': qmpError('GenericError', 'no') },
    /refuses migrate-set-param/,
  ],
  ['breaks off', { 'query-memdev': CLOSED }, /did not answer query-memdev/],
])('a QEMU that %s is named in the error, and keeps its settings', async (_, answers, pattern) => {
  const made = await startMigrating(undefined, answers);
  await expect(readQemuTable(made.qmp)).rejects.toMatchObject({
    ...{ code: 'ERR_HTAB_UNAVAILABLE' },
    message: expect.stringMatching(pattern) as string,
  });
  expect(made.capabilities).toEqual(OFF);
});

test('a migration that someone else has begun meanwhile goes on', async () => {
  const busy: { qemu?: FakeQemu } = {};
  let asked = 0;
  const answers: Answers = {
    migrate: () => {
      busy.qemu!.state.migration = { status: 'active' };
      return qmpError('GenericError', "There's a migration process in progress");
    },
    // It ends at some time.
    'query-migrate': () => (++asked > 5 ? { status: 'failed' } : busy.qemu?.state.migration),
  };
  const made = await startMigrating(undefined, answers);
  busy.qemu = made.qemu;
  await expect(readQemuTable(made.qmp)).rejects.toThrow(/refuses migrate: There's a migration/);
  expect(made.qemu.names()).not.toContain('migrate_cancel');
  expect(made.capabilities).toEqual(OFF);
});

test.each([
  ['io-error', 5, /does not any more: QEMU says io-error\n$/],
  ['paused', 0, /^/],
])('save --qmp of a guest that is %s afterwards ends with %i', async (status, wanted, pattern) => {
  const { qemu } = await MigratingQemu.start(scratch('qmp'), (socket, fake) => {
    fake.state.status = status;
    socket.write(STREAM);
  });
  const { stdout, stderr } = captureOutput();
  const code = await run(['save', '--qmp', qemu.path, scratch('guest.hpt'), '--quiet'], { stdout, stderr });
  qemu.close();
  expect([code, stderr.text]).toEqual([wanted, expect.stringMatching(pattern)]);
});

test('save --qmp looks at the place of the file before it has the guest migrated', async () => {
  const { qemu } = await MigratingQemu.start(scratch('qmp'));
  const { stdout, stderr } = captureOutput();
  const file = `${scratch('none')}/guest.hpt`;
  expect(await run(['save', '--qmp', qemu.path, file], { stdout, stderr })).toBe(1);
  qemu.close();
  expect([stderr.text, qemu.names()]).toEqual([expect.stringContaining('ENOENT'), []]);
});

describe('settings that QEMU does not take back', () => {
  /** Refuses every change of parameters after the first. */
  function refusing(): Answers {
    let calls = 0;
    return { 'migrate-set-parameters': () => (++calls === 1 ? {} : qmpError('GenericError', 'no')) };
  }
  const settings = /did not take its migration settings back: {.*"multifd":true.*"tls-creds":"tls0"}/;

  test('are named beside the table, and the others are set back', async () => {
    const made = await startMigrating(undefined, refusing());
    const { stream, guestState, settingsError } = await readQemuTable(made.qmp);
    expect([stream.table?.validCount, guestState]).toEqual([2, 'running']);
    expect(settingsError?.message).toMatch(settings);
    expect(made.capabilities).toEqual(OFF);
  });

  test('are named with what failed before', async () => {
    const made = await startMigrating((socket) => void socket.write('SSH-2.0-x\n'), refusing());
    await expect(readQemuTable(made.qmp)).rejects.toMatchObject({
      code: 'ERR_HTAB_UNAVAILABLE',
      message: expect.stringMatching(settings) as string,
      cause: { message: expect.stringMatching(/not a migration stream.*; then: .*refuses migrate-set/) as string }, // prettier-ignore
    });
  });
});

test('a migration that fails before it connects ends with the reason that QEMU gives', async () => {
  const state: { made?: MigratingQemu } = {};
  const migrate = (): void => {
    state.made!.qemu.state.migration = { status: 'failed', 'error-desc': 'Permission denied' };
  };
  const made = await startMigrating(undefined, { migrate });
  state.made = made;
  await expect(readQemuTable(made.qmp)).rejects.toMatchObject({
    message: expect.stringMatching(
      /could not migrate to a socket of this process: Permission denied;/,
    ) as string,
  });
});

test.each(['inmigrate', 'postmigrate', 'prelaunch', 'suspended', 'guest-panicked', 'later'])(
  'a guest in a state that could not be come back to (%s) is not migrated',
  async (status) => {
    const made = await startMigrating();
    made.qemu.state.status = status;
    await expect(readQemuTable(made.qmp)).rejects.toMatchObject({ code: 'ERR_HTAB_STATE', state: 'busy' });
    expect(made.qemu.names().slice(1)).toEqual(['query-status']);
  },
);

test('a guest that QEMU migrates already is left alone', async () => {
  const made = await startMigrating();
  made.qemu.state.migration = { status: 'active' };
  await expect(readQemuTable(made.qmp)).rejects.toThrow(/migrates the guest \(active\)/);
  expect(made.qemu.names()).not.toContain('migrate-set-capabilities');
});
