import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { createServer } from 'node:net';
import { afterEach, beforeEach, expect, onTestFinished, test, vi } from 'vitest';
import { run } from '../../../lib/cli/program.js';
import { openForReading } from '../../../lib/cli/table/open.js';
import type { SourceTable } from '../../../lib/migration/tables.js';
import type { HtabHandle } from '../../../lib/vm/contract.js';
import { EmulatedVm } from '../../../lib/vm/emulated/emulated-vm.js';
import { GuestWorkload } from '../../../lib/vm/emulated/guest-workload.js';
import * as attach from '../../../lib/vm/kvm/attach.js';
import * as handover from '../../../lib/vm/kvm/handover.js';
import { FakeQemu } from '../../qemu/qmp/fake-qemu.js';
import { scratchFiles } from '../../scratch.js';
import { startVmm, type VmmRequest } from '../../test-vmm.js';
import { captureOutput } from '../capture.js';

// --qmp beside a descriptor. There is none on this machine: an emulated VM stands where the VMM's would.
vi.mock('../../../lib/vm/kvm/handover.js');
vi.mock('../../../lib/vm/kvm/attach.js');

const scratch = scratchFiles();
const ATTACHED = { attach: 77 };
const IN_USE = { state: 'in-use' };
const READ_ON = 100;

let vm: EmulatedVm;
let qemu: FakeQemu;
/** All descriptors that were opened. */
let opened: HtabHandle[];

beforeEach(async () => {
  vm = new EmulatedVm();
  await vm.allocateHpt(18);
  opened = [];
  qemu = await FakeQemu.start(scratch('qmp'));
  const open = async (startIndex = 0): Promise<never> => {
    const handle = await vm.openHtab({ startIndex });
    opened.push(handle);
    return handle as never;
  };
  vi.mocked(attach.attachHtab).mockImplementation(async () => ({
    ...{ handle: await open(), order: 18, fd: 4, openRead: open },
    reopen: Object.assign(open, { readOnEntries: READ_ON }),
  }));
  vi.mocked(handover.requestHtab).mockImplementation(async () => {
    const ready = { handle: await open(), text: 'ok 18\n' };
    return ready;
  });
});
afterEach(() => {
  qemu.close();
  vi.resetAllMocks();
});

/** A VMM's control socket that says ok to everything. */
async function listenAsVmm(): Promise<{ readonly at: string; readonly lines: string[] }> {
  const at = scratch('control');
  const lines: string[] = [];
  const server = createServer((socket) => {
    socket.on('data', (chunk) => {
      lines.push(...chunk.toString().trimEnd().split('\n'));
      socket.write('ok\n');
    });
  }).listen(at);
  await once(server, 'listening');
  onTestFinished(() => {
    server.close();
  });
  return { at, lines };
}

const read = (handle: HtabHandle): Promise<number> => handle.read(new Uint8Array(100));

async function expectClosed(): Promise<void> {
  expect(opened.length).toBeGreaterThan(0);
  for (const handle of opened) await expect(read(handle)).rejects.toMatchObject({ state: 'closed' });
}

test('a monitor beside --attach stops the guest, and is asked before and after each read', async () => {
  const source = await openForReading({ ...ATTACHED, qmp: qemu.path });
  const { handle } = source.table as SourceTable;
  await source.control!.pause();
  expect(qemu.state.status).toBe('paused');
  const before = qemu.names().filter((name) => name === 'query-migrate').length;
  expect(await read(handle)).toBeGreaterThan(0);
  expect(qemu.names().filter((name) => name === 'query-migrate').length).toBe(before + 2);
  await source.control!.resume();
  expect(qemu.state.status).toBe('running');
  await source.close();
  await expectClosed();
});

test('a monitor beside --htab-socket stops the guest in place of the VMM', async () => {
  const { at, lines } = await listenAsVmm();
  const source = await openForReading({ htabSocket: at, qmp: qemu.path });
  await source.control!.pause();
  await source.control!.resume();
  expect(qemu.names()).toEqual(expect.arrayContaining(['stop', 'cont']));
  expect(lines).toEqual([]);
  expect(await read((source.table as SourceTable).handle)).toBeGreaterThan(0);
  await source.close();
  await expectClosed();
});

test('a guest that QEMU migrates is not attached to, and a VMM not asked for its table', async () => {
  const { at } = await listenAsVmm();
  qemu.state.migration = { status: 'active' };
  await expect(openForReading({ ...ATTACHED, qmp: qemu.path })).rejects.toMatchObject(IN_USE);
  await expect(openForReading({ htabSocket: at, qmp: qemu.path })).rejects.toMatchObject(IN_USE);
  expect(attach.attachHtab).not.toHaveBeenCalled();
  expect(handover.requestHtab).not.toHaveBeenCalled();
});

test.each(['attach', 'socket'])(
  'a migration that begins later is cancelled by a read of any descriptor (%s)',
  async (place) => {
    const options = place === 'attach' ? ATTACHED : { htabSocket: (await listenAsVmm()).at };
    const source = await openForReading({ ...options, qmp: qemu.path });
    const { handle, reopen } = source.table as SourceTable;
    const another = await reopen!(5);
    await read(handle);
    await read(another);
    qemu.state.migration = { status: 'active' };
    await expect(read(another)).rejects.toMatchObject(IN_USE);
    expect(qemu.state.migration).toEqual({ status: 'cancelled' });
    await expect(read(handle)).rejects.toMatchObject(IN_USE);
    await source.close();
    await another.close();
    await expectClosed();
  },
);

test('an opener that rather reads on says so through the guard', async () => {
  const source = await openForReading({ ...ATTACHED, qmp: qemu.path });
  expect((source.table as SourceTable).reopen!.readOnEntries).toBe(READ_ON);
  await source.close();
});

test('without a monitor at the path given nothing is attached to', async () => {
  qemu.close();
  await expect(openForReading({ ...ATTACHED, qmp: qemu.path })).rejects.toMatchObject({ syscall: 'connect' });
  expect(attach.attachHtab).not.toHaveBeenCalled();
});

test('where the table cannot be opened, the monitor is free for another client', async () => {
  const reason = new Error('no right');
  vi.mocked(attach.attachHtab).mockRejectedValueOnce(reason);
  await expect(openForReading({ ...ATTACHED, qmp: qemu.path })).rejects.toBe(reason);
  const source = await openForReading({ ...ATTACHED, qmp: qemu.path });
  await source.close();
});

/** Moves the table of the guest of this QEMU by the commands, to a VMM that moves nothing else. */
async function move(monitor: FakeQemu, ...receiveArgs: string[]) {
  new GuestWorkload(vm, { seed: 1, pages: 8000 }).step(500);
  const target = new EmulatedVm();
  await target.allocateHpt(18);
  vi.mocked(handover.requestHtab).mockImplementation(async (_, { request } = {}) => {
    const handle = await target.openHtab({ access: request === 'open-write\n' ? 'write' : 'read' });
    return { handle, text: 'ok 18\n' } as never;
  });
  const answer = ({ line }: VmmRequest): string => (line === 'can-accept' ? 'error unknown\n' : 'ok\n');
  const vmm = await startVmm(scratch('vmm'), answer);
  const at = scratch('migration');
  const [sender, receiver] = [captureOutput(), captureOutput()];
  const once = ['--reconnect-ms', '0'];
  const receiving = run(
    ['receive', `unix:${at}`, '--htab-socket', vmm.at, ...once, ...receiveArgs],
    receiver,
  );
  while (!existsSync(at)) await new Promise((resolve) => setImmediate(resolve));
  const sending = run(['send', `unix:${at}`, '--attach', '77', '--qmp', monitor.path, ...once], sender);
  const codes = await Promise.all([sending, receiving]);
  return { codes, printed: sender.stdout.text, said: sender.stderr.text + receiver.stderr.text };
}

test('send does not commit a guest that QEMU says has been migrated while it was stopped, and is in doubt', async () => {
  const monitor: { qemu?: FakeQemu } = {};
  const stop = (): object => {
    monitor.qemu!.state.status = 'postmigrate';
    return {};
  };
  monitor.qemu = await FakeQemu.start(scratch('other'), { stop });
  const { codes, said } = await move(monitor.qemu);
  monitor.qemu.close();
  expect(codes).toEqual([4, 1]);
  expect(said).toMatch(/says postmigrate: another client has migrated the guest, which may run elsewhere/);
  expect(monitor.qemu.names()).not.toContain('cont');
});

test('send does not say of a guest of QEMU that it runs, as it may have been paused before', async () => {
  qemu.state.status = 'paused';
  const refused = await move(qemu, '--min-entries', '1000000');
  expect(refused.codes).toEqual([1, 1]);
  expect(refused.said).toMatch(/; the guest is here, as it was before$/m);
  const moved = await move(qemu);
  expect(moved.codes).toEqual([0, 0]);
  expect(moved.printed).toMatch(/^guest +was paused before$/m);
});
