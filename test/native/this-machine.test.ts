import { accessSync, constants } from 'node:fs';
import path from 'node:path';
import { describe, expect, test, vi } from 'vitest';
import { HtabUnavailableError } from '../../lib/base/errors.js';
import { KvmVm } from '../../lib/vm/kvm/kvm-vm.js';
import { capabilityNumbers, probe } from '../../lib/vm/kvm/probe.js';
import { openVm } from '../../lib/vm/open.js';
import { addonIfBuilt, isCloseOnExec, numbersOf, scratchFolder } from './support.js';

const built = addonIfBuilt();

/** Why /dev/kvm cannot be opened by these tests, or undefined. */
const deviceProblem = ((): string | undefined => {
  try {
    accessSync('/dev/kvm', constants.R_OK | constants.W_OK);
    return undefined;
  } catch (error) {
    return (error as Error).message;
  }
})();
if (deviceProblem !== undefined) process.stderr.write(`skipping the tests on /dev/kvm: ${deviceProblem}\n`);

// A POWER host has hashed page tables: there the rig's tests apply instead.
const elsewhere = process.arch !== 'ppc64';

describe.skipIf(built === undefined)('KvmVm without a usable device', () => {
  const folder = scratchFolder();

  test('says what probe finds: that there is none, or that this machine could not have one', async () => {
    const device = path.join(folder, 'kvm');
    const { problem } = await probe({ device });
    const noDevice = { reason: 'no-device', hint: 'load the kvm and kvm-hv modules' };
    const { message, reason, hint } = problem!;
    await expect(KvmVm.create({ device })).rejects.toMatchObject({
      code: 'ERR_HTAB_UNAVAILABLE',
      ...{ message, reason, hint },
      ...(reason === 'arch' ? { cause: noDevice } : noDevice),
    });
    if (process.arch === 'x64') expect(reason).toBe('arch');
  });

  test('is not taken in by another device', async () => {
    const before = numbersOf('/dev/null').length;
    await expect(KvmVm.create({ device: '/dev/null' })).rejects.toMatchObject({
      errnoName: 'ENOTTY',
      syscall: 'KVM_GET_API_VERSION',
    });
    expect(numbersOf('/dev/null')).toHaveLength(before);
  });
});

describe.skipIf(built === undefined || deviceProblem !== undefined || !elsewhere)(
  'the KVM of a machine that is not POWER',
  () => {
    const vms = (): number[] => numbersOf('anon_inode:kvm-vm');

    test('makes a VM, close-on-exec, and has no HTAB', async () => {
      await using vm = await KvmVm.create();
      expect(vm).toMatchObject({ backend: 'kvm', hptOrder: undefined });
      const [fd] = vms();
      expect(isCloseOnExec(fd!)).toBe(true);
      expect(await vm.checkExtension(capabilityNumbers.PPC_HTAB_FD)).toBe(0);
      const notHv = {
        code: 'ERR_HTAB_SYSTEM',
        errnoName: 'ENOTTY',
        hint: 'the VM is not a KVM-HV one: load the kvm-hv module on a POWER host',
      };
      await expect(vm.allocateHpt(24)).rejects.toMatchObject({ ...notHv, syscall: 'KVM_PPC_ALLOCATE_HTAB' });
      await expect(vm.openHtab()).rejects.toMatchObject({ ...notHv, syscall: 'KVM_PPC_GET_HTAB_FD' });
      await expect(vm.openHtab({ access: 'write' })).rejects.toMatchObject(notHv);
      await expect(vm.prepareHptResize(24)).rejects.toMatchObject({
        ...notHv,
        syscall: 'KVM_PPC_RESIZE_HPT_PREPARE',
      });
      await expect(vm.commitHptResize(24)).rejects.toMatchObject({
        ...notHv,
        syscall: 'KVM_PPC_RESIZE_HPT_COMMIT',
      });
      await expect(vm.configureMmu('radix')).rejects.toMatchObject({
        ...notHv,
        syscall: 'KVM_PPC_CONFIGURE_V3_MMU',
      });
      await expect(vm.getSmmuInfo()).rejects.toMatchObject({
        errnoName: 'ENOTTY',
        syscall: 'KVM_PPC_GET_SMMU_INFO',
      });
      expect(vm.hptOrder).toBeUndefined();
      await vm.close();
      expect(vms()).toEqual([]);
    });

    test('refuses a VM of a type it does not know', async () => {
      await expect(KvmVm.create({ type: 99 })).rejects.toMatchObject({
        errnoName: 'EINVAL',
        syscall: 'KVM_CREATE_VM',
        operation: 'create a VM of type 99',
      });
    });

    test('the addon refuses an order outside 18..46 by itself, where this kernel would say ENOTTY (0, trap 5)', async () => {
      const addon = built!;
      const kvm = await addon.openKvm('/dev/kvm');
      const vm = await addon.createVm(kvm, 0);
      for (const order of [0, 17, 47, 2 ** 32 - 1]) {
        await expect(addon.allocateHtab(vm, order)).rejects.toMatchObject({ errno: 22 });
      }
      await expect(addon.allocateHtab(vm, 18)).rejects.toMatchObject({ errno: 25 });
      await Promise.all([kvm.close(), vm.close()]);
    });

    test('a VM descriptor of this process is taken over, or duplicated', async () => {
      await using vm = await KvmVm.create();
      const [fd] = vms();
      await using duplicate = await KvmVm.fromFd(fd!, { duplicate: true, hptOrder: 24 });
      expect(duplicate.hptOrder).toBe(24);
      expect(vms()).toHaveLength(2);
      expect(await duplicate.checkExtension(0)).toBe(1);
      await duplicate.close();
      expect(vms()).toEqual([fd]);
      await vm.close();
    });

    test('probe says what it found, what is missing and why', async () => {
      const found = await probe();
      expect(found).toMatchObject({
        platform: 'linux',
        arch: process.arch,
        byteOrder: 'LE',
        device: '/dev/kvm',
        apiVersion: 12,
        flavour: 'none',
      });
      expect(found.capabilities).toMatchObject({ PPC_HTAB_FD: 0, PPC_ALLOC_HTAB: 0 });
      expect(found.problem).toBeInstanceOf(HtabUnavailableError);
      expect(found.problem).toMatchObject({
        reason: 'arch',
        hint: 'use the emulated backend, or a POWER host',
      });
      expect(numbersOf('/dev/kvm', 'anon_inode:kvm-vm')).toEqual([]);
    });

    test('probe of a missing device still names the architecture', async () => {
      const found = await probe({ device: '/nowhere/kvm' });
      expect(found.apiVersion).toBeUndefined();
      expect(found.problem).toMatchObject({ reason: 'arch' });
    });
  },
);

describe.skipIf(!elsewhere)('openVm on a machine that is not POWER', () => {
  test('gives what was asked for', async () => {
    await using emulated = await openVm({ backend: 'emulated', emulated: { host: 'power8' } });
    await using image = await openVm({ backend: 'image' });
    expect([emulated.backend, image.backend]).toEqual(['emulated', 'image']);
  });

  test('never puts another backend in the place of kvm', async () => {
    await expect(openVm({ backend: 'kvm' })).rejects.toBeInstanceOf(HtabUnavailableError);
  });

  test('says aloud that auto chose the emulated one', async () => {
    const warnings: string[] = [];
    const warn = vi.spyOn(process, 'emitWarning').mockImplementation((warning) => {
      warnings.push(String(warning));
    });
    await using vm = await openVm({ backend: 'auto' });
    warn.mockRestore();
    expect(vm.backend).toBe('emulated');
    expect(warnings).toEqual([
      expect.stringMatching(/^openVm chose the emulated backend: .+ \(see probe\(\)\)$/),
    ]);
    expect(warnings[0]).not.toContain('use the emulated');
  });
});
