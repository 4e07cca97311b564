import { once } from 'node:events';
import { createServer } from 'node:net';
import { afterEach, beforeEach, expect, onTestFinished, test, vi } from 'vitest';
import { openSource } from '../../../lib/cli/table/open.js';
import type { SourceTable } from '../../../lib/migration/tables.js';
import type { HtabHandle } from '../../../lib/vm/contract.js';
import { EmulatedVm } from '../../../lib/vm/emulated/emulated-vm.js';
import * as attach from '../../../lib/vm/kvm/attach.js';
import * as handover from '../../../lib/vm/kvm/handover.js';
import { FakeQemu } from '../../qemu/qmp/fake-qemu.js';
import { scratchFiles } from '../../scratch.js';

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
  const source = await openSource({ ...ATTACHED, qmp: qemu.path });
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
  const source = await openSource({ htabSocket: at, qmp: qemu.path });
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
  await expect(openSource({ ...ATTACHED, qmp: qemu.path })).rejects.toMatchObject(IN_USE);
  await expect(openSource({ htabSocket: at, qmp: qemu.path })).rejects.toMatchObject(IN_USE);
  expect(attach.attachHtab).not.toHaveBeenCalled();
  expect(handover.requestHtab).not.toHaveBeenCalled();
});

test.each(['attach', 'socket'])(
  'a migration that begins later is cancelled by a read of any descriptor (%s)',
  async (place) => {
    const options = place === 'attach' ? ATTACHED : { htabSocket: (await listenAsVmm()).at };
    const source = await openSource({ ...options, qmp: qemu.path });
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
  const source = await openSource({ ...ATTACHED, qmp: qemu.path });
  expect((source.table as SourceTable).reopen!.readOnEntries).toBe(READ_ON);
  await source.close();
});

test('without a monitor at the path given nothing is attached to', async () => {
  qemu.close();
  await expect(openSource({ ...ATTACHED, qmp: qemu.path })).rejects.toMatchObject({ syscall: 'connect' });
  expect(attach.attachHtab).not.toHaveBeenCalled();
});

test('where the table cannot be opened, the monitor is free for another client', async () => {
  const reason = new Error('no right');
  vi.mocked(attach.attachHtab).mockRejectedValueOnce(reason);
  await expect(openSource({ ...ATTACHED, qmp: qemu.path })).rejects.toBe(reason);
  const source = await openSource({ ...ATTACHED, qmp: qemu.path });
  await source.close();
});
