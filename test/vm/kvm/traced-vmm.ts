import type * as files from 'node:fs/promises';
import type { HtabHandle, OpenHtabOptions } from '../../../lib/vm/contract.js';
import type { Addon, Descriptor } from '../../../lib/vm/kvm/addon.js';

export const PPOLL = '281 0x1 0x1 0x0 0x0 0x0 0x0 0x7fff 0x7fff';
export const KVM_RUN = '54 0x9 0x2000ae80 0x0 0x0 0x0 0x0 0x7fff 0x7fff';
export const FREE = 'TracerPid:\t0\nSeccomp:\t0\n';
export const VM = 'anon_inode:kvm-vm';
export const HTAB = 'anon_inode:kvm-htab';

/** A process as /proc has it, and what its threads say to the tracer. */
export const vmm = {
  fds: new Object() as Record<string, string>,
  threads: new Object() as Record<string, { syscall: string; status: string }>,
  denied: false,
  scope: '1',
  asked: [] as unknown[][],
  refusals: [] as { errno: number; syscall: string }[],
  openTable: (_options: OpenHtabOptions): Promise<HtabHandle> =>
    Promise.reject(new Error('its VM has no table yet')),
};
const handles = new Map<Descriptor, HtabHandle>();

const failure = (code: string): Error => Object.assign(new Error(code), { code });

function partsOf(path: unknown): string[] {
  const [, rest] = /^\/proc\/42\/(.*)$/.exec(String(path)) ?? [];
  if (rest === undefined) throw failure('ENOENT');
  if (vmm.denied) throw failure('EACCES');
  return rest.split('/');
}

function file(path: unknown): string {
  if (String(path).endsWith('ptrace_scope')) return vmm.scope;
  const [, tid = '', name = ''] = partsOf(path);
  return vmm.threads[tid]?.[name as 'syscall'] ?? '';
}

/** What stands for /proc, where process 42 is the VMM. */
export const procFiles = {
  readdir: ((path: unknown) =>
    new Promise<string[]>((resolve) => {
      resolve(Object.keys(partsOf(path)[0] === 'fd' ? vmm.fds : vmm.threads));
    })) as unknown as typeof files.readdir,
  readlink: ((path: unknown) => Promise.resolve(vmm.fds[partsOf(path)[1]!])) as typeof files.readlink,
  readFile: ((path: unknown) =>
    new Promise((resolve) => {
      resolve(file(path));
    })) as typeof files.readFile,
};

/** An addon whose tracer opens the VMM's table. */
export const addon: Partial<Addon> = {
  openHtabIn: async (...asked) => {
    vmm.asked.push(asked);
    const refusal = vmm.refusals.shift();
    if (refusal !== undefined) throw Object.assign(new Error('refused'), refusal);
    const [, , , flags, startIndex] = asked;
    const handle = await vmm.openTable({ access: flags === 2 ? 'write' : 'read', startIndex });
    const descriptor: Descriptor = { close: () => handle.close() };
    handles.set(descriptor, handle);
    return descriptor;
  },
  inspectFile: (descriptor) =>
    Promise.resolve({ name: HTAB, flags: handles.get(descriptor)!.access === 'write' ? 1 : 0 }),
  allocate: () => undefined,
  read: (descriptor, buffer) => handles.get(descriptor)!.read(buffer),
  write: (descriptor, bytes) => handles.get(descriptor)!.write(bytes),
};
