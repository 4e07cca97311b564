import { describe, expect, test } from 'vitest';
import { HtabFormatError, HtabStateError } from '../../../lib/base/errors.js';
import { EmulatedVm, type EmulatedVmOptions } from '../../../lib/vm/emulated/emulated-vm.js';
import type { HtabFile } from '../../../lib/vm/emulated/htab-file.js';

const EXACT = 1n << 39n;
const BOLTED = 0x10n;
const H_SUCCESS = 0n;
const H_PARAMETER = BigInt.asUintN(64, -4n);
const H_PTEG_FULL = BigInt.asUintN(64, -6n);
const [ENTER, REMOVE, READ, CLEAR_MOD, PROTECT] = [0x08, 0x04, 0x0c, 0x10, 0x18];

async function machine(order = 18, options: EmulatedVmOptions = {}): Promise<EmulatedVm> {
  const vm = new EmulatedVm(options);
  await vm.allocateHpt(order);
  return vm;
}

/** A read descriptor past its first pass. */
function reader(vm: EmulatedVm): HtabFile {
  const file = vm.openFile(0, 0) as HtabFile;
  file.read(new Uint8Array(1 << 20));
  return file;
}

/** One read: index, counts and the HPTEs' hexadecimal doublewords of each record. */
function read(file: HtabFile): string[] {
  const buffer = Buffer.alloc(1 << 16);
  const bytes = file.read(buffer);
  const records: string[] = [];
  for (let at = 0; at < bytes;) {
    const valid = buffer.readUInt16LE(at + 4);
    const hptes = Array.from({ length: valid * 2 }, (_, word) =>
      buffer.readBigUInt64BE(at + 8 + word * 8).toString(16),
    );
    records.push(
      `${buffer.readUInt32LE(at)}+${valid}-${buffer.readUInt16LE(at + 6)} ${hptes.join(' ')}`.trim(),
    );
    at += 8 + valid * 16;
  }
  return records;
}

function record(index: number, valid: readonly (readonly [bigint, bigint])[], invalid = 0): Buffer {
  const bytes = Buffer.alloc(8 + valid.length * 16);
  bytes.writeUInt32LE(index, 0);
  bytes.writeUInt16LE(valid.length, 4);
  bytes.writeUInt16LE(invalid, 6);
  for (const [entry, [v, r]] of valid.entries()) {
    bytes.writeBigUInt64BE(v, 8 + entry * 16);
    bytes.writeBigUInt64BE(r, 16 + entry * 16);
  }
  return bytes;
}

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
