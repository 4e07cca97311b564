import { describe, expect, test } from 'vitest';
import { HtabStateError } from '../../../lib/base/errors.js';
import type { EmulatedVm } from '../../../lib/vm/emulated/emulated-vm.js';
import type { HtabFile } from '../../../lib/vm/emulated/htab-file.js';
import { EXACT, BOLTED, ENTER, READ, machine, reader, read, record } from './guest-machine.js';

describe('a resize', () => {
  const V = 0x4001ffffff000011n;

  async function ready(
    order: number,
    entries: readonly (readonly [number, bigint, bigint])[],
  ): Promise<EmulatedVm> {
    const vm = await machine(order);
    const writer = vm.openFile(2, 0) as HtabFile;
    writer.write(record(2 ** (order - 4) - 1, [[V, 0x190n]]));
    for (const [ptex, v, r] of entries) expect(writer.write(record(ptex, [[v, r]]))).toBe(24);
    return vm;
  }

  test('loses the hardware’s R and C that no reader has harvested (0, trap 11)', async () => {
    const vm = await ready(19, [[8, 0x1000n | BOLTED | 1n, 0x10n]]);
    const file = reader(vm);
    vm.access(8, { store: true });
    await vm.prepareHptResize(19);
    await vm.commitHptResize(19);
    expect(read(file)).toEqual([]);
    expect(read(vm.openFile(0, 0) as HtabFile)[1]).toMatch(/^8\+1-\d+ 1051 10$/);
  });

  test('that would move two bolted entries to one slot is refused, where the kernel crashes (0, trap 12)', async () => {
    const large = [0x1015n, 0x9000000010n] as const;
    const vm = await ready(18, [
      [24, ...large],
      [32, ...large],
    ]);
    await vm.prepareHptResize(18);
    const error: unknown = await vm.commitHptResize(18).catch((reason: unknown) => reason);
    expect(error).toBeInstanceOf(HtabStateError);
    expect(error).toMatchObject({ state: 'would-crash', code: 'ERR_HTAB_STATE' });
    expect(vm.hptOrder).toBe(18);
  });
});

describe('running vcpus', () => {
  test('make writes and allocations fail with EBUSY once the MMU is set up (4.1)', async () => {
    const vm = await machine(18, {
      memoryRegions: [{ guestAddress: 0n, size: 1n << 20n, hostPageShift: 16, populated: true }],
    });
    vm.enterGuest();
    vm.runningVcpus = 1;
    await using writer = await vm.openHtab({ access: 'write' });
    await expect(writer.write(new Uint8Array(0))).rejects.toMatchObject({ errnoName: 'EBUSY', errno: 16 });
    await expect(vm.allocateHpt(18)).rejects.toMatchObject({ errnoName: 'EBUSY' });
    vm.runningVcpus = 0;
    await expect(writer.write(record(3, [[0x11n, 0x10n]]))).resolves.toBe(24);
  });
});

describe('radix', () => {
  test('reads nothing, refuses writes and resizes; back in hash mode there is no table (1.4, vector 21)', async () => {
    const vm = await machine();
    const file = reader(vm);
    vm.hcall(ENTER, [EXACT, 7n, 0x1001n, 0x10n]);
    await vm.configureMmu('radix');
    await using writer = await vm.openHtab({ access: 'write' });
    expect(file.read(new Uint8Array(4096))).toBe(0);
    await expect(writer.write(new Uint8Array(0))).rejects.toMatchObject({ errnoName: 'EINVAL' });
    await expect(vm.prepareHptResize(18)).rejects.toMatchObject({ errnoName: 'EINVAL' });
    expect(vm.hcall(READ, [0n, 0n])[0]).toBe(BigInt.asUintN(64, -2n));
    await vm.configureMmu('hash');
    expect(vm.hptOrder).toBeUndefined();
    await vm.allocateHpt(18);
    expect(read(file)).toEqual([]);
  });

  test('is not there on POWER8', async () => {
    const vm = await machine(18, { host: 'power8' });
    await expect(vm.configureMmu('radix')).rejects.toMatchObject({ errnoName: 'ENODEV' });
  });
});
