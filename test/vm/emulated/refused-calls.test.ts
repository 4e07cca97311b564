import { describe, expect, test } from 'vitest';
import { HtabFormatError, HtabStateError } from '../../../lib/base/errors.js';
import { EmulatedVm } from '../../../lib/vm/emulated/emulated-vm.js';
import type { HtabFile } from '../../../lib/vm/emulated/htab-file.js';
import { EXACT, ENTER, READ, machine, record } from './guest-machine.js';

describe('calls the emulation refuses because the kernel could not survive or honour them', () => {
  test('bytes behind the buffer are not made up: the write says where it would need them (0, trap 2)', async () => {
    const vm = await machine();
    const writer = vm.openFile(2, 0) as HtabFile;
    const cut = record(5, [[0x11n, 0x190n]]).subarray(0, 20);
    expect(() => writer.write(cut)).toThrow(HtabFormatError);
    expect(vm.table!.validCount).toBe(0);
  });

  test('order 0 without a table (0, trap 5)', () => {
    expect(() => new EmulatedVm().allocateUnguarded(0)).toThrow(HtabStateError);
  });

  test('an order out of range leaves the table alone, while the bare call loses it (0, trap 5)', async () => {
    const vm = await machine();
    await expect(vm.allocateHpt(47)).rejects.toThrow(RangeError);
    expect(vm.hptOrder).toBe(18);
    expect(vm.allocateUnguarded(47)).toBe(-22);
    expect(vm.hptOrder).toBeUndefined();
  });
});

describe('arguments that cannot be', () => {
  test.each([2 ** 32, 2 ** 40, -(2 ** 32), NaN, -1, 1.5, 16_384])(
    'entry %d is no entry: an access faults',
    async (ptex) => {
      const vm = await machine();
      vm.hcall(ENTER, [EXACT, 0n, 0x1001n, 0x10n]);
      expect(vm.access(ptex, { store: true })).toBe('fault');
      expect(vm.hypercalls.read(ptex)).toBe(-4);
      expect(vm.hcall(READ, [0n, 0n])[2]).toBe(0x10n);
    },
  );

  test('regions that overlap, a host or a start that does not exist, fewer than no vcpus', () => {
    const region = { guestAddress: 0n, size: 1n << 20n, hostPageShift: 16, populated: true };
    expect(() => new EmulatedVm({ memoryRegions: [region, region] })).toThrow(RangeError);
    expect(() => new EmulatedVm({ host: 'power7' as 'power8' })).toThrow(RangeError);
    expect(() => new EmulatedVm().openFile(0, NaN)).toThrow(RangeError);
    expect(() => (new EmulatedVm().runningVcpus = -1)).toThrow(RangeError);
  });

  test('the dirty log of memory without bounds ends behind the last page stored to', async () => {
    const vm = await machine();
    // 16G at 0 and 4K at 2^56: more pages than any region has.
    vm.hcall(ENTER, [EXACT, 0n, 0x1005n, 0x3010n]);
    vm.hcall(ENTER, [EXACT, 1n, 0x1001n, (1n << 56n) | 0x10n]);
    expect(vm.access(0, { store: true })).toBe('ok');
    expect(vm.getDirtyLog(0)).toEqual(new Uint8Array(2 ** 18 / 8).fill(255));
    expect(vm.access(1, { store: true })).toBe('ok');
    expect(vm.getDirtyLog(0).length).toBe(2 ** 28);
  });
});
