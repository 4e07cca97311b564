import { constants } from 'node:os';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { HtabUnavailableError } from '../../../lib/base/errors.js';
import type { Addon, Descriptor } from '../../../lib/vm/kvm/addon.js';
import { capabilityNumbers, probe } from '../../../lib/vm/kvm/probe.js';
import { SMMU_INFO_BYTES } from '../../../lib/vm/kvm/smmu-info.js';

const { EINVAL, EMFILE, ENODEV, ENOTTY } = constants.errno;

/** A machine's KVM: an errno (positive) per call that fails, the VM types it makes, and what it answers. */
interface Machine {
  readonly open?: number;
  readonly version?: number;
  readonly types: readonly number[];
  readonly capabilities: Partial<Record<keyof typeof capabilityNumbers, number>>;
  readonly smmuFlags?: bigint;
}

const { kvm } = vi.hoisted(() => ({
  kvm: { machine: undefined as unknown as Machine, open: 0, addonIsBuilt: true },
}));

vi.mock(import('../../../lib/vm/kvm/addon.js'), async (original) => {
  const descriptor = (): Promise<Descriptor> => {
    kvm.open += 1;
    return Promise.resolve({
      close: () => {
        kvm.open -= 1;
        return Promise.resolve();
      },
    });
  };
  const failure = (syscall: string, errno: number): Promise<never> =>
    Promise.reject(Object.assign(new Error(syscall), { errno, syscall }));
  const addon: Partial<Addon> = {
    openKvm: () => (kvm.machine.open === undefined ? descriptor() : failure('open', kvm.machine.open)),
    getApiVersion: () => {
      const { version = 12 } = kvm.machine;
      return version < 0 ? failure('KVM_GET_API_VERSION', -version) : Promise.resolve(version);
    },
    createVm: (_kvm, type) =>
      kvm.machine.types.includes(type) ? descriptor() : failure('KVM_CREATE_VM', EINVAL),
    checkExtension: (_fd, number) => {
      const [name] = Object.entries(capabilityNumbers).find(([, one]) => one === number)!;
      return Promise.resolve(kvm.machine.capabilities[name as keyof typeof capabilityNumbers] ?? 0);
    },
    getSmmuInfo: (_vm, bytes) => {
      new DataView(bytes.buffer).setBigUint64(0, kvm.machine.smmuFlags ?? 0n, true);
      return Promise.resolve(SMMU_INFO_BYTES);
    },
  };
  const loadAddon = (): Addon => {
    if (kvm.addonIsBuilt) return addon as Addon;
    throw new HtabUnavailableError('no-prebuild', 'the addon is not built', 'build it');
  };
  return { ...(await original()), loadAddon };
});

const arch = Object.getOwnPropertyDescriptor(process, 'arch')!;
const HV = { PPC_HTAB_FD: 1, PPC_ALLOC_HTAB: 1 };
/** KVM_PPC_NO_HASH. */
const NO_HASH = 4n;

beforeEach(() => {
  Object.defineProperty(process, 'arch', { value: 'ppc64' });
  kvm.open = 0;
  kvm.addonIsBuilt = true;
});
afterEach(() => {
  Object.defineProperty(process, 'arch', arch);
  expect(kvm.open).toBe(0);
});

test.each<[string, Machine, { flavour: string; hostMmu: string }]>([
  ['hash', { types: [1], capabilities: HV }, { flavour: 'hv', hostMmu: 'hash' }],
  ['radix', { types: [1], capabilities: { ...HV, PPC_MMU_RADIX: 1 } }, { flavour: 'hv', hostMmu: 'radix' }],
])('a %s host with KVM-HV has no problem', async (_name, machine, found) => {
  kvm.machine = machine;
  const result = await probe();
  expect(result).toMatchObject({ apiVersion: 12, ...found, capabilities: HV });
  expect(result.problem).toBeUndefined();
});

describe('the problem of a host', () => {
  test.each<[string, Machine, object, object]>([
    [
      'with KVM-PR',
      { types: [2], capabilities: {} },
      { apiVersion: 12, flavour: 'pr' },
      { reason: 'not-hv', message: expect.stringContaining('user space keeps the table') as string },
    ],
    [
      'with neither module',
      { types: [], capabilities: {} },
      { apiVersion: 12, flavour: 'none' },
      { reason: 'not-hv', hint: expect.stringContaining('modprobe kvm-hv') as string },
    ],
    [
      'that is a guest itself',
      { types: [1], capabilities: HV, smmuFlags: NO_HASH },
      { flavour: 'nested' },
      { reason: 'not-hv', hint: 'run on a bare-metal (PowerNV) host' },
    ],
    [
      'with something else at the device’s path',
      { types: [], capabilities: {}, version: -ENOTTY },
      { apiVersion: undefined, capabilities: undefined, flavour: undefined },
      {
        reason: 'unsupported',
        message: expect.stringContaining('KVM_GET_API_VERSION failed with ENOTTY') as string,
      },
    ],
    [
      'with a KVM of another version',
      { types: [1], capabilities: HV, version: 11 },
      { apiVersion: undefined, capabilities: undefined },
      { reason: 'unsupported', message: expect.stringContaining('speaks version 11') as string },
    ],
    [
      'without a driver',
      { types: [], capabilities: {}, open: ENODEV },
      { apiVersion: undefined },
      { reason: 'no-device', hint: 'load the kvm-hv module: the device exists, but not its driver' },
    ],
    [
      'where this process has no descriptor left',
      { types: [1], capabilities: HV, open: EMFILE },
      { apiVersion: undefined },
      { reason: 'unsupported', hint: expect.stringContaining('ulimit -n') as string },
    ],
  ])('%s', async (_name, machine, found, problem) => {
    kvm.machine = machine;
    const result = await probe();
    expect({ apiVersion: undefined, capabilities: undefined, flavour: undefined, ...result }).toMatchObject(
      found,
    );
    expect(result.problem).toMatchObject(problem);
  });
});

test('on another architecture the answers of what is no KVM are not taken for any', async () => {
  Object.defineProperty(process, 'arch', { value: 'x64' });
  kvm.machine = { types: [], capabilities: {}, version: -ENOTTY };
  const result = await probe();
  expect(result).toMatchObject({ flavour: 'none', problem: { reason: 'arch' } });
  expect('apiVersion' in result).toBe(false);
  expect('capabilities' in result).toBe(false);
});

test('an x64 machine is told that none has tables, and not to build an addon for them', async () => {
  Object.defineProperty(process, 'arch', { value: 'x64' });
  kvm.addonIsBuilt = false;
  const { problem } = await probe();
  expect(problem).toMatchObject({
    reason: 'arch',
    message: 'no x64 KVM has hashed page tables; use the emulated backend, or a POWER host',
  });
});
