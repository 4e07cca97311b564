import { expect, onTestFinished, test } from 'vitest';
import { connectQmp } from '../../../lib/qemu/qmp/connection.js';
import { qmpGuestControl, type QmpGuest } from '../../../lib/qemu/qmp/guest-control.js';
import { GuestControl } from '../../../lib/precopy/guest-control.js';
import { scratchFiles } from '../../scratch.js';
import { FakeQemu, SILENT, qmpError, type Answers } from './fake-qemu.js';

const scratch = scratchFiles();

async function guestOf(
  answers: Answers = {},
  timeoutMs?: number,
): Promise<{ qemu: FakeQemu; guest: QmpGuest }> {
  const qemu = await FakeQemu.start(scratch('qmp'), answers);
  const qmp = await connectQmp(qemu.path, { timeoutMs });
  onTestFinished(() => {
    qmp.close();
    qemu.close();
  });
  return { qemu, guest: qmpGuestControl(qmp) };
}

test('a guest that runs is stopped, and runs again', async () => {
  const { qemu, guest } = await guestOf();
  await guest.pause();
  expect([qemu.state.status, guest.pausedBefore]).toEqual(['paused', false]);
  await guest.resume();
  expect(qemu.state.status).toBe('running');
  await guest.resume();
  expect(qemu.names().slice(1)).toEqual(['query-status', 'stop', 'query-status', 'cont']);
});

test.each([
  'paused',
  'prelaunch',
  'postmigrate',
  'shutdown',
  'internal-error',
  'io-error',
  'watchdog',
  'guest-panicked',
  'debug',
])(
  // prettier-ignore
  'a guest that stood still before (%s) is left so',
  async (status) => {
    const { qemu, guest } = await guestOf();
    qemu.state.status = status;
    await guest.pause();
    expect(guest.pausedBefore).toBe(true);
    await guest.resume();
    expect([qemu.state.status, qemu.names().slice(1)]).toEqual([status, ['query-status']]);
  },
);

test.each([
  ['inmigrate', /is not stopped: QEMU says inmigrate: it is being migrated to this QEMU$/],
  ['finish-migrate', /it is being migrated away$/],
  ['suspended', /it may wake|may wake at any time$/],
  ['a-later-state', /QEMU says a-later-state$/],
  ['', /QEMU says nothing$/],
])(
  'a guest whose table may change by itself (%s) is not taken for a stopped one',
  async (status, pattern) => {
    const { qemu, guest } = await guestOf();
    qemu.state.status = status;
    await expect(guest.pause()).rejects.toMatchObject({
      ...{ code: 'ERR_HTAB_STATE', state: 'busy' },
      message: expect.stringMatching(pattern) as string,
    });
    expect(qemu.names()).not.toContain('stop');
  },
);

test.each([
  'postmigrate',
  'inmigrate',
  'finish-migrate',
  'internal-error',
  'shutdown',
  'guest-panicked',
  'colo',
])(
  // prettier-ignore
  'a guest that is %s after it was stopped here is not let run, and the error says why',
  async (status) => {
    const { qemu, guest } = await guestOf();
    const control = new GuestControl(guest, 10_000);
    await control.pause(undefined);
    qemu.state.status = status;
    await expect(control.resume()).rejects.toMatchObject({
      code: 'ERR_HTAB_GUEST_STOPPED',
      cause: {
        message: expect.stringMatching(`^the guest is not let run: QEMU says ${status}: its? .`) as string,
      },
    });
    expect(qemu.names()).not.toContain('cont');
  },
);

test('a guest that someone else has let run meanwhile is left running', async () => {
  const { qemu, guest } = await guestOf();
  await guest.pause();
  qemu.state.status = 'running';
  await guest.resume();
  expect(qemu.names()).not.toContain('cont');
});

test('a guest whose stop was not answered in time is let run again', async () => {
  const qemu: { fake?: FakeQemu } = {};
  const stop = (): typeof SILENT => {
    qemu.fake!.state.status = 'paused';
    return SILENT;
  };
  const { qemu: fake, guest } = await guestOf({ stop }, 300);
  qemu.fake = fake;
  await expect(guest.pause()).rejects.toMatchObject({ reason: 'refused' });
  await guest.resume();
  expect(fake.state.status).toBe('running');
});

test('a guest that QEMU refuses to stop was not stopped, and one that it refuses to let run is an error', async () => {
  const refusing = await guestOf({ stop: qmpError('GenericError', 'not now') });
  await expect(refusing.guest.pause()).rejects.toThrow(/refuses stop: not now/);
  await refusing.guest.resume();
  expect(refusing.qemu.names()).not.toContain('cont');
  const stuck = await guestOf({
    cont: qmpError('GenericError', 'Resetting the Virtual Machine is required'),
  });
  await stuck.guest.pause();
  await expect(stuck.guest.resume()).rejects.toThrow(
    /refuses cont: Resetting the Virtual Machine is required/,
  );
});
