import { constants } from 'node:os';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { HptReader } from '../../../lib/io/reader.js';
import { readTable } from '../../../lib/io/read-table.js';
import { saveSnapshot } from '../../../lib/snapshot/save.js';
import { EmulatedVm } from '../../../lib/vm/emulated/emulated-vm.js';
import type { Addon } from '../../../lib/vm/kvm/addon.js';
import { attachHtab } from '../../../lib/vm/kvm/attach.js';
import { scratchFiles } from '../../scratch.js';
import { FREE, HTAB, KVM_RUN, PPOLL, VM, vmm } from './traced-vmm.js';

const { EAGAIN, EIO, EPERM } = constants.errno;
const scratch = scratchFiles();

vi.mock(import('node:fs/promises'), async (original) => {
  const { procFiles } = await import('./traced-vmm.js');
  return { ...(await original()), ...procFiles };
});

vi.mock(import('../../../lib/vm/kvm/addon.js'), async (original) => {
  const { addon } = await import('./traced-vmm.js');
  return { ...(await original()), loadAddon: () => addon as Addon };
});

let vm: EmulatedVm;
const { arch } = process;
beforeEach(async () => {
  Object.defineProperty(process, 'arch', { value: 'ppc64' });
  vmm.fds = { 3: '/dev/kvm', 7: VM };
  vmm.threads = {
    42: { syscall: PPOLL, status: FREE },
    43: { syscall: KVM_RUN, status: FREE },
    44: { syscall: 'running', status: FREE },
  };
  Object.assign(vmm, { denied: false, scope: '1', asked: [], refusals: [] });
  vm = new EmulatedVm();
  vmm.openTable = (options) => vm.openHtab(options);
  await vm.allocateHpt(20);
});
afterEach(() => {
  Object.defineProperty(process, 'arch', { value: arch });
});

test('a table is opened by the thread that waits, and its order found by one first pass', async () => {
  const { handle, order, fd } = await attachHtab({ pid: 42 });
  expect({ order, fd, access: handle.access }).toEqual({ order: 20, fd: 7, access: 'read' });
  expect(vmm.asked).toEqual([
    [42, 42, 7, 0, 0, false],
    [42, 42, 7, 0, 0, false],
  ]);
  expect((await readTable(handle, { order })).order).toBe(20);
});

test('an order that is told spares the pass, and further descriptors begin where they are asked to', async () => {
  const { handle, reopen, openRead } = await attachHtab({ pid: 42, order: 20, access: 'write' });
  expect(handle.access).toBe('write');
  const fresh = [await reopen(512), await openRead()];
  expect(fresh.map(({ access }) => access)).toEqual(['read', 'read']);
  expect(vmm.asked.map((asked) => asked.slice(3, 5))).toEqual([
    [2, 0],
    [0, 512],
    [0, 0],
  ]);
  for (const each of [handle, ...fresh]) await each.close();
});

test('of a table that is saved, two further descriptors check that it is still the same', async () => {
  // Far from each other: another opener would open a descriptor for each entry of the sample.
  await vm.allocateHpt(24);
  for (let ptex = 0; ptex < 2 ** 20; ptex += 2 ** 15) {
    vm.hcall(0x08, [1n << 39n, BigInt(ptex), 0x11n, 0x10190n]);
  }
  const { handle, order, reopen } = await attachHtab({ pid: 42, order: 24 });
  const { sourceRechecked } = await saveSnapshot(handle, scratch('saved'), { order, reopen });
  expect(sourceRechecked).toBe(true);
  expect(vmm.asked).toHaveLength(3);
});

test('a thread that could not be stopped is tried again, and one with a filter is told to be one', async () => {
  vmm.threads['42']!.status = 'TracerPid:\t0\nSeccomp:\t2\n';
  vmm.refusals = [{ errno: EAGAIN, syscall: 'PTRACE_INTERRUPT' }];
  const { handle } = await attachHtab({ pid: 42, order: 20 });
  await handle.close();
  expect(vmm.asked).toEqual([
    [42, 42, 7, 0, 0, true],
    [42, 42, 7, 0, 0, true],
  ]);
});

const refused: [string, () => void, object, RegExp][] = [
  ['without a VM', () => (vmm.fds = { 3: '/dev/kvm' }), { reason: 'no-vm' }, /the pid of the VMM itself/],
  ['with several VMs', () => (vmm.fds = { 7: VM, 9: VM }), { reason: 'several-vms' }, /--vm-fd\): 7, 9$/],
  ['of another user', () => (vmm.denied = true), { reason: 'permission' }, /CAP_SYS_PTRACE.*it is 1\)/],
  [
    'where nobody may trace',
    () => Object.assign(vmm, { denied: true, scope: '3\n' }),
    { reason: 'permission' },
    /yama\/ptrace_scope is 3/,
  ],
  [
    'with another tracer',
    () => (vmm.threads['42']!.status = 'TracerPid:\t77\n'),
    { reason: 'traced' },
    /process 77 traces thread 42/,
  ],
  [
    'with a filter that stays',
    () => (vmm.refusals = [{ errno: EPERM, syscall: 'PTRACE_O_SUSPEND_SECCOMP' }]),
    { reason: 'seccomp' },
    /CAP_SYS_ADMIN/,
  ],
  [
    'that may not be traced',
    () => (vmm.refusals = [{ errno: EPERM, syscall: 'PTRACE_SEIZE' }]),
    { reason: 'permission' },
    /CAP_SYS_PTRACE/,
  ],
  [
    'whose kernel refuses',
    () => (vmm.refusals = [{ errno: EIO, syscall: 'KVM_PPC_GET_HTAB_FD' }]),
    { errnoName: 'EIO' },
    /open the table of process 42: KVM_PPC_GET_HTAB_FD failed with EIO/,
  ],
  ['with no thread that waits', () => delete vmm.threads['42'], { reason: 'no-thread' }, /0 waited in one/],
  [
    'that migrates its guest',
    () => (vmm.fds = { 7: VM, 8: HTAB }),
    { state: 'in-use' },
    /descriptor open \(8\).*wait until that has ended/,
  ],
];
test.each(refused)('a process %s is refused', async (_which, change, error, message) => {
  change();
  const attached = attachHtab({ pid: 42 });
  await expect(attached).rejects.toMatchObject(error);
  await expect(attached).rejects.toThrow(message);
});

test('a process that is not there, and a descriptor that is no VM, are named', async () => {
  await expect(attachHtab({ pid: 41 })).rejects.toMatchObject({ reason: 'no-process' });
  await expect(attachHtab({ pid: 42, fd: 3 })).rejects.toMatchObject({ reason: 'no-vm' });
});

test('a radix guest has nothing to read', async () => {
  await vm.configureMmu('radix');
  await expect(attachHtab({ pid: 42 })).rejects.toMatchObject({ reason: 'no-table' });
});

test('off POWER nothing is tried', async () => {
  Object.defineProperty(process, 'arch', { value: 'x64' });
  await expect(attachHtab({ pid: 42 })).rejects.toMatchObject({ reason: 'arch' });
});

test('a descriptor that another program has there for a moment does no harm', async () => {
  vmm.fds['8'] = HTAB;
  setTimeout(() => delete vmm.fds['8'], 10);
  const { handle } = await attachHtab({ pid: 42, order: 20 });
  await handle.close();
});

test('nothing is written while the VMM migrates its guest', async () => {
  const { handle } = await attachHtab({ pid: 42, order: 20, access: 'write' });
  const nothing = new Uint8Array(8);
  expect(await handle.write(nothing)).toBe(8);
  vmm.fds['8'] = HTAB;
  await expect(handle.write(nothing)).rejects.toMatchObject({ state: 'in-use' });
  await expect(handle.writeRecords(nothing)).rejects.toMatchObject({ state: 'in-use' });
});

test('a migration that begins meanwhile ends the reading, and says what to do about it', async () => {
  const { handle, order } = await attachHtab({ pid: 42 });
  await using reader = new HptReader(handle, { order });
  for await (const chunk of reader.pass()) expect(chunk.length).toBeGreaterThan(0);
  vmm.fds['8'] = HTAB;
  const pass = async (): Promise<void> => {
    for await (const chunk of reader.pass()) expect(chunk.length).toBeGreaterThan(0);
  };
  await expect(pass()).rejects.toMatchObject({
    code: 'ERR_HTAB_STATE',
    state: 'in-use',
    message: expect.stringContaining('migrate_cancel') as string,
  });
  delete vmm.fds['8'];
  // What it took is gone: it cannot go on.
  await expect(handle.read(new Uint8Array(100))).rejects.toMatchObject({ state: 'in-use' });
});

test.each([
  [{ pid: 0 }, RangeError],
  [{ pid: 42, order: 17 }, RangeError],
  [{ pid: 42, access: 'both' }, TypeError],
  [{ pid: 42, vmFd: 1 }, TypeError],
])('%j are no options', async (options, type) => {
  await expect(attachHtab(options as never)).rejects.toBeInstanceOf(type);
});
