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
  expect([qemu.state.status, guest.pausedBefore()]).toEqual(['paused', false]);
  await guest.resume();
  expect(qemu.state.status).toBe('running');
  await guest.resume();
  expect(qemu.names().slice(1)).toEqual(['query-status', 'stop', 'query-status', 'cont']);
});

test.each(['paused', 'prelaunch'])('a guest that stood still before (%s) is left so', async (status) => {
  const { qemu, guest } = await guestOf();
  qemu.state.status = status;
  await guest.pause();
  expect(guest.pausedBefore()).toBe(true);
  await guest.confirmStopped();
  await guest.resume();
  expect(qemu.state.status).toBe(status);
  expect(qemu.names().slice(1)).toEqual(['query-status', 'query-migrate', 'query-status']);
});

test.each([
  ['postmigrate', /it has been migrated, and may run elsewhere$/],
  ['shutdown', /it has shut down$/],
  ['internal-error', /it has failed in QEMU or KVM$/],
  ['io-error', /a disk of it has failed$/],
  ['watchdog', /its watchdog has stopped it$/],
  ['guest-panicked', /its kernel has crashed$/],
  ['debug', /a debugger has stopped it$/],
  ['inmigrate', /is not stopped: QEMU says inmigrate: it is being migrated to this QEMU$/],
  ['finish-migrate', /it is being migrated away$/],
  ['suspended', /it may wake|may wake at any time$/],
  ['a-later-state', /QEMU says a-later-state$/],
  ['', /QEMU says nothing$/],
])(
  'a guest that has failed, or is not whole here (%s), is not taken for a stopped one',
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

test.each(['postmigrate', 'finish-migrate', 'colo'])(
  'a guest that is %s after it was stopped here may run elsewhere: it is not let run, and in doubt',
  async (status) => {
    const { qemu, guest } = await guestOf();
    const control = new GuestControl(guest, 10_000);
    await control.pause(undefined);
    qemu.state.status = status;
    await expect(guest.confirmStopped()).rejects.toMatchObject({ code: 'ERR_HTAB_STATE' });
    await expect(control.resume(new Error('first'))).rejects.toMatchObject({
      ...{ code: 'ERR_HTAB_IN_DOUBT', cause: { message: expect.stringMatching('^first; then:') as string } },
      message: expect.stringMatching(`says ${status}: another client has migrated the guest`) as string,
    });
    expect(qemu.names()).not.toContain('cont');
  },
);

test('a guest that another client migrates, or has let run, is not confirmed as stopped', async () => {
  const { qemu, guest } = await guestOf();
  await guest.pause();
  qemu.state.migration = { status: 'active' };
  await expect(guest.confirmStopped()).rejects.toMatchObject({ state: 'in-use' });
  Object.assign(qemu.state, { status: 'running', migration: {} });
  await expect(guest.confirmStopped()).rejects.toThrow(/the guest is not moved: QEMU says running$/);
});

test('a guest whose monitor has closed the connection is let run over a new one', async () => {
  const { qemu, guest } = await guestOf();
  await guest.pause();
  qemu.say('no QMP\n');
  await expect(guest.confirmStopped()).rejects.toThrow(/does not speak QMP/);
  await guest.resume();
  expect(qemu.state.status).toBe('running');
});

test.each(['inmigrate', 'internal-error', 'shutdown', 'guest-panicked'])(
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
