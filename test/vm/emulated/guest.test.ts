import { describe, expect, test } from 'vitest';
import { EmulatedVm } from '../../../lib/vm/emulated/emulated-vm.js';
import type { HtabFile } from '../../../lib/vm/emulated/htab-file.js';
import {
  EXACT,
  H_SUCCESS,
  H_PARAMETER,
  H_PTEG_FULL,
  ENTER,
  REMOVE,
  READ,
  CLEAR_MOD,
  PROTECT,
  machine,
  reader,
  read,
  record,
} from './guest-machine.js';

describe('references and stores by the hardware', () => {
  test('a load sets R, a store C, each reported once (3, vectors 17 and 18)', async () => {
    const vm = await machine();
    vm.hcall(ENTER, [EXACT, 7n, 0x1001n, 0x101010n]);
    const file = reader(vm);
    expect(vm.access(7, { store: false })).toBe('ok');
    expect(read(file)).toEqual(['7+1-0 1041 101110']);
    vm.access(7, { store: false });
    expect(read(file)).toEqual([]);
    vm.access(7, { store: true });
    expect(read(file)).toEqual(['7+1-0 1041 101190']);
    expect(read(file)).toEqual([]);
  });

  test('bits not yet harvested come with H_REMOVE, and the removal is reported (vector 19)', async () => {
    const vm = await machine();
    vm.hcall(ENTER, [EXACT, 7n, 0x1001n, 0x10n]);
    const file = reader(vm);
    vm.access(7, { store: true });
    expect(vm.hcall(REMOVE, [0n, 7n]).slice(0, 3)).toEqual([H_SUCCESS, 0x1001n, 0x190n]);
    expect(read(file)).toEqual(['7+0-1']);
  });

  test('a descriptor for bolted entries harvests the others too, and hides them (2.6)', async () => {
    const vm = await machine();
    vm.hcall(ENTER, [EXACT, 7n, 0x1001n, 0x10n]);
    const bolted = vm.openFile(1, 0) as HtabFile;
    bolted.read(new Uint8Array(4096));
    const all = reader(vm);
    vm.access(7, { store: true });
    expect(read(bolted)).toEqual(['7+0-1']);
    expect(read(all)).toEqual([]);
    expect(vm.hcall(READ, [0n, 7n]).slice(1, 3)).toEqual([0x1001n, 0x190n]);
  });

  test('a small buffer harvests only the entries it has room for (2.3)', async () => {
    const vm = await machine();
    const file = reader(vm);
    for (const ptex of [7n, 8n]) vm.hcall(ENTER, [EXACT, ptex, 0x1001n, 0x10n]);
    read(file);
    vm.access(7, { store: false });
    vm.access(8, { store: false });
    const buffer = Buffer.alloc(25);
    expect(file.read(buffer)).toBe(24);
    expect(buffer.toString('hex', 0, 24)).toBe('0700000001000000' + '0000000000001041' + '0000000000000110');
    // Entry 8's R is still the hardware's alone: H_CLEAR_MOD shows no mark in bit 62.
    expect(vm.hcall(CLEAR_MOD, [0n, 8n])[1]).toBe(0x110n);
    expect(read(file)).toEqual(['8+1-0 1041 110']);
  });

  test('the dirty log collects C into the guest’s view (3.2)', async () => {
    const region = { guestAddress: 0n, size: 1n << 20n, hostPageShift: 16, populated: true };
    const vm = await machine(18, { memoryRegions: [region] });
    vm.hcall(ENTER, [EXACT, 7n, 0x1001n, 0x20010n]);
    const file = reader(vm);
    vm.access(7, { store: true });
    expect([...vm.getDirtyLog(0)]).toEqual([0b100, 0, 0, 0, 0, 0, 0, 0]);
    expect(read(file)).toEqual(['7+1-0 1041 20190']);
    expect([...vm.getDirtyLog(0)]).toEqual([0, 0, 0, 0, 0, 0, 0, 0]);
    expect(() => vm.getDirtyLog(1)).toThrow(RangeError);
  });

  test('a protected entry refuses a store, one without memory is MMIO, an invalid one faults', async () => {
    const region = { guestAddress: 0n, size: 1n << 20n, hostPageShift: 16, populated: false };
    const vm = await machine(18, { memoryRegions: [region] });
    vm.hcall(ENTER, [EXACT, 7n, 0x1001n, 0x10n]);
    vm.hcall(ENTER, [EXACT, 8n, 0x1001n, 0x8000000010n]);
    vm.hcall(PROTECT, [3n, 7n]);
    expect(vm.access(7, { store: true })).toBe('fault');
    expect(vm.access(7, { store: false })).toBe('ok');
    expect(vm.access(8, { store: false })).toBe('mmio');
    expect(vm.access(9, { store: false })).toBe('fault');
  });

  test('an entry made again starts with the R and C its page has collected (3)', async () => {
    const region = { guestAddress: 0n, size: 1n << 20n, hostPageShift: 16, populated: true };
    const vm = await machine(18, { memoryRegions: [region] });
    vm.hcall(ENTER, [EXACT, 7n, 0x1001n, 0x10n]);
    vm.access(7, { store: false });
    vm.hcall(REMOVE, [0n, 7n]);
    vm.hcall(ENTER, [EXACT, 7n, 0x1001n, 0x190n]);
    const file = reader(vm);
    // The hardware's word took R from the page but not C, so clearing the guest's C leaves nothing behind.
    expect(vm.hcall(CLEAR_MOD, [0n, 7n])[1]).toBe(0x190n);
    expect(read(file)).toEqual(['7+1-0 1041 110']);
  });
});

describe('the real-mode area', () => {
  const memory = { guestAddress: 0n, size: 64n << 20n, hostPageShift: 16, populated: true };

  test('is entered at the first KVM_RUN: slot 7 of the PTEG of each page (4.5)', async () => {
    const vm = await machine(18, { memoryRegions: [memory] });
    const file = reader(vm);
    vm.enterGuest();
    const records = read(file);
    expect(records).toHaveLength(1024);
    expect(records[0]).toBe('8199+1-0 4001ffffff0003d5 3ff1190');
    expect(records.at(-1)).toBe('16383+1-0 4001ffffff000055 1190');
  });

  test('is not made again once an entry of it was written (4.5)', async () => {
    const vm = await machine(18, { memoryRegions: [memory] });
    const writer = vm.openFile(2, 0) as HtabFile;
    expect(writer.write(record(16383, [[0x4001ffffff000015n, 0x1190n]]))).toBe(24);
    vm.enterGuest();
    expect(vm.table!.validCount).toBe(1);
  });

  test('comes with a table of order 24 where there is none (4.5)', () => {
    const vm = new EmulatedVm({ memoryRegions: [memory] });
    vm.enterGuest();
    expect(vm.hptOrder).toBe(24);
  });

  test('needs memory at guest address 0', async () => {
    const vm = await machine(18, { memoryRegions: [] });
    expect(() => vm.enterGuest()).toThrow(
      expect.objectContaining({ errnoName: 'EINVAL', syscall: 'KVM_RUN' }),
    );
  });
});

describe('H_ENTER', () => {
  test('takes the lowest free slot of the PTEG, and says when there is none', async () => {
    const vm = await machine();
    for (let slot = 0n; slot < 8n; slot++) {
      expect(vm.hcall(ENTER, [0n, 21n, 0x1001n, 0x10n]).slice(0, 2)).toEqual([H_SUCCESS, 16n + slot]);
    }
    expect(vm.hcall(ENTER, [0n, 21n, 0x1001n, 0x10n])[0]).toBe(H_PTEG_FULL);
  });

  test('refuses a page larger than its host page, and one that hangs over its region (4.4)', async () => {
    const vm = await machine(18, {
      pageShift: 12,
      memoryRegions: [{ guestAddress: 0n, size: 0x21000n, hostPageShift: 12, populated: true }],
    });
    expect(vm.hcall(ENTER, [EXACT, 7n, 0x1005n, 0x1012n])[0]).toBe(H_PARAMETER);
    expect(vm.hcall(ENTER, [EXACT, 7n, 0x1001n, 0x20012n])[0]).toBe(H_SUCCESS);
  });
});
