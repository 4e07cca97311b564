import { constants } from 'node:os';
import { beforeEach, describe, expect, onTestFinished, test, vi } from 'vitest';
import { HtabStateError, HtabSystemError } from '../../../lib/base/errors.js';
import type { Addon, Descriptor } from '../../../lib/vm/kvm/addon.js';
import { KvmVm } from '../../../lib/vm/kvm/kvm-vm.js';

// A kernel that answers what it is told to, and writes down what it was asked and when.
const { kernel } = vi.hoisted(() => {
  const log: string[] = [];
  const answers = new Map<string, number>();
  const open = new Set<string>();
  return { kernel: { log, answers, open } };
});

vi.mock(import('../../../lib/vm/kvm/addon.js'), async (original) => {
  let made = 0;
  const descriptor = (kind: string): Descriptor => {
    const name = `${kind}#${(made += 1)}`;
    kernel.open.add(name);
    return {
      close: () => {
        kernel.open.delete(name);
        return Promise.resolve();
      },
    };
  };
  /** Begins, lets others go first, then ends. */
  const call = async (name: string, fallback = 0, syscall = name): Promise<number> => {
    kernel.log.push(`${name} begins`);
    await new Promise(setImmediate);
    kernel.log.push(`${name} ends`);
    const result = kernel.answers.get(name) ?? fallback;
    if (result >= 0) return result;
    throw Object.assign(new Error(name), { errno: -result, syscall });
  };
  const opening = async (name: string, kind: string): Promise<Descriptor> => {
    await call(name);
    return descriptor(kind);
  };
  const addon = {
    openKvm: () => opening('open', 'kvm'),
    getApiVersion: () => call('KVM_GET_API_VERSION', 12),
    createVm: (_kvm: Descriptor, type: number) => opening('KVM_CREATE_VM', `vm of type ${type}`),
    checkExtension: (_vm: Descriptor, capability: number) => call(`KVM_CHECK_EXTENSION ${capability}`, 1),
    allocateHtab: (_vm: Descriptor, order: number) =>
      call(`ALLOCATE ${order}`, order, 'KVM_PPC_ALLOCATE_HTAB'),
    getHtabFd: (_vm: Descriptor, flags: number, start: number) =>
      opening('KVM_PPC_GET_HTAB_FD', `htab ${flags} from ${start}`),
    prepareHptResize: (_vm: Descriptor, order: number) => call(`PREPARE ${order}`, 100),
    commitHptResize: (_vm: Descriptor, order: number) => call(`COMMIT ${order}`),
    configureV3Mmu: (_vm: Descriptor, flags: number, table: bigint) =>
      call(`CONFIGURE ${flags} ${table.toString(16)}`),
    read: () => call('read', 24),
    write: () => call('write'),
  } as unknown as Addon;
  return { ...(await original()), loadAddon: () => addon };
});

const { EBUSY, EIO, EINVAL, ENOMEM, EMFILE } = constants.errno;

beforeEach(() => {
  kernel.log.length = 0;
  kernel.answers.clear();
  kernel.open.clear();
});

describe('KvmVm.create', () => {
  test('asks for the flavour of the architecture, and keeps nothing open but the VM', async () => {
    const vm = await KvmVm.create();
    expect([...kernel.open]).toEqual([expect.stringMatching(/^vm of type [01]#/)]);
    await vm.close();
    await vm.close();
    expect(kernel.open.size).toBe(0);
  });

  test('closes the device when the VM is refused', async () => {
    kernel.answers.set('KVM_CREATE_VM', -EINVAL);
    await expect(KvmVm.create()).rejects.toMatchObject({ errnoName: 'EINVAL', syscall: 'KVM_CREATE_VM' });
    expect(kernel.open.size).toBe(0);
  });

  test('refuses an interface of another version', async () => {
    const arch = Object.getOwnPropertyDescriptor(process, 'arch')!;
    onTestFinished(() => void Object.defineProperty(process, 'arch', arch));
    kernel.answers.set('KVM_GET_API_VERSION', 11);
    // What is wrong on x64 is the architecture, before all else.
    Object.defineProperty(process, 'arch', { value: 'x64' });
    await expect(KvmVm.create()).rejects.toMatchObject({ reason: 'arch', cause: { reason: 'unsupported' } });
    Object.defineProperty(process, 'arch', { value: 'ppc64' });
    await expect(KvmVm.create()).rejects.toMatchObject({ reason: 'unsupported' });
    expect(kernel.open.size).toBe(0);
  });
});

describe('the guard of ALLOCATE (0, trap 5)', () => {
  test.each([0, 1, 17, 47, -1, 18.5, NaN, 2 ** 32 + 18])(
    'order %d never reaches the kernel',
    async (order) => {
      await using vm = await KvmVm.create();
      kernel.log.length = 0;
      await expect(vm.allocateHpt(order)).rejects.toBeInstanceOf(RangeError);
      expect(kernel.log).toEqual([]);
    },
  );
});

test.each(['Radix', 'hpt', '', undefined, 1])('the MMU is not switched to %o', async (mode) => {
  await using vm = await KvmVm.create();
  await expect(vm.configureMmu(mode as 'hash')).rejects.toMatchObject({
    name: 'TypeError',
    code: 'ERR_INVALID_ARG_VALUE',
  });
  expect(kernel.log.filter((line) => line.startsWith('CONFIGURE'))).toEqual([]);
});

describe('hptOrder', () => {
  test('follows what the kernel granted', async () => {
    await using vm = await KvmVm.create();
    expect(vm.hptOrder).toBeUndefined();
    await vm.allocateHpt(20);
    expect(vm.hptOrder).toBe(20);
    expect(await vm.prepareHptResize(21)).toBe(100);
    expect(vm.hptOrder).toBe(20);
    await vm.commitHptResize(21);
    expect(vm.hptOrder).toBe(21);
    await vm.configureMmu('hash');
    expect(vm.hptOrder).toBe(21);
    await vm.configureMmu('radix');
    expect(vm.hptOrder).toBeUndefined();
    expect(kernel.log).toContain('CONFIGURE 1 8000000000000000 ends');
    expect(kernel.log).toContain('CONFIGURE 0 0 ends');
  });

  test.each([
    ['EBUSY', EBUSY, 20],
    ['EIO', EIO, 20],
    ['ENOMEM', ENOMEM, undefined],
    ['EINVAL', EINVAL, undefined],
  ])('after an ALLOCATE that fails with %s (5.1)', async (errnoName, errno, order) => {
    await using vm = await KvmVm.create();
    await vm.allocateHpt(20);
    kernel.answers.set('ALLOCATE 30', -errno);
    await expect(vm.allocateHpt(30)).rejects.toMatchObject({ errnoName, syscall: 'KVM_PPC_ALLOCATE_HTAB' });
    expect(vm.hptOrder).toBe(order);
  });

  test('of a kernel that grants another order is that one, and the difference is refused (10)', async () => {
    await using vm = await KvmVm.create();
    kernel.answers.set('ALLOCATE 24', 22);
    await expect(vm.allocateHpt(24)).rejects.toMatchObject({
      code: 'ERR_HTAB_UNAVAILABLE',
      reason: 'refused',
      message: expect.stringMatching(
        /order 22, not 24.*allocate order 24 again, or allocate order 22$/,
      ) as string,
    });
    expect(vm.hptOrder).toBe(22);
    await vm.allocateHpt(22);
    expect(vm.hptOrder).toBe(22);
  });

  test('is unchanged by a commit that fails', async () => {
    await using vm = await KvmVm.create();
    await vm.allocateHpt(20);
    kernel.answers.set('COMMIT 21', -EBUSY);
    await expect(vm.commitHptResize(21)).rejects.toBeInstanceOf(HtabSystemError);
    expect(vm.hptOrder).toBe(20);
  });
});

describe('the calls of a VM and its handles', () => {
  test('never overlap (2.4): reads, ALLOCATE and RESIZE wait for each other', async () => {
    await using vm = await KvmVm.create();
    await using first = await vm.openHtab();
    await using second = await vm.openHtab();
    kernel.log.length = 0;
    await Promise.all([
      first.read(new Uint8Array(64)),
      vm.allocateHpt(20),
      second.read(new Uint8Array(64)),
      vm.commitHptResize(21),
      first.read(new Uint8Array(64)),
    ]);
    expect(kernel.log).toEqual(
      ['read', 'ALLOCATE 20', 'read', 'COMMIT 21', 'read'].flatMap((name) => [
        `${name} begins`,
        `${name} ends`,
      ]),
    );
  });

  test('a handle goes on working after the VM object is closed (2.4)', async () => {
    const vm = await KvmVm.create();
    await using handle = await vm.openHtab();
    await vm.close();
    expect(await handle.read(new Uint8Array(64))).toBe(24);
    for (const call of [() => vm.openHtab(), () => vm.checkExtension(84), () => vm.configureMmu('hash')]) {
      await expect(call()).rejects.toBeInstanceOf(HtabStateError);
    }
  });
});

describe('openHtab', () => {
  test('passes access, filter and start to the kernel (1.2)', async () => {
    await using vm = await KvmVm.create();
    await using _read = await vm.openHtab();
    await using _write = await vm.openHtab({ access: 'write' });
    await using _bolted = await vm.openHtab({ boltedOnly: true, startIndex: 2 ** 40 });
    expect([...kernel.open].map((name) => name.replace(/#\d+$/, '')).slice(1)).toEqual([
      'htab 0 from 0',
      'htab 2 from 0',
      `htab 1 from ${2 ** 40}`,
    ]);
  });

  test('says what was tried and what to do when the kernel refuses', async () => {
    await using vm = await KvmVm.create();
    kernel.answers.set('KVM_PPC_GET_HTAB_FD', -EMFILE);
    await expect(vm.openHtab({ access: 'write' })).rejects.toMatchObject({
      code: 'ERR_HTAB_SYSTEM',
      errnoName: 'EMFILE',
      operation: 'open the HPT to write',
      hint: 'raise the limit of open files (ulimit -n), or close handles no longer needed',
    });
  });

  test('an abort during the call lets it finish, drops the descriptor and rejects with the reason', async () => {
    await using vm = await KvmVm.create();
    const abort = new AbortController();
    const opening = vm.openHtab({ signal: abort.signal });
    await new Promise(setImmediate);
    const reason = new Error('enough');
    abort.abort(reason);
    await expect(opening).rejects.toBe(reason);
    expect([...kernel.open]).toHaveLength(1);
  });
});
