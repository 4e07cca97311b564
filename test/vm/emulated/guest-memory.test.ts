import { describe, expect, test } from 'vitest';
import { digestTable } from '../../../lib/hpt/digest.js';
import { EmulatedVm } from '../../../lib/vm/emulated/emulated-vm.js';
import { GuestMemoryError } from '../../../lib/vm/emulated/guest-contents.js';
import { GuestRam } from '../../../lib/vm/emulated/guest-ram.js';
import { GuestWorkload } from '../../../lib/vm/emulated/guest-workload.js';
import type { WorkloadMix, WorkloadOptions } from '../../../lib/vm/emulated/workload-options.js';

const BYTES = 2 ** 24;
const NOTHING: WorkloadMix = { fault: 0, evict: 0, protect: 0, load: 0, store: 0 };

interface Machine {
  readonly vm: EmulatedVm;
  readonly ram: GuestRam;
  readonly workload: GuestWorkload;
}

async function machine(options: WorkloadOptions = {}, pageShift = 12): Promise<Machine> {
  const region = { guestAddress: 0n, size: BigInt(BYTES), hostPageShift: 24, populated: true };
  const vm = new EmulatedVm({ pageShift, memoryRegions: [region] });
  await vm.allocateHpt(18);
  const ram = new GuestRam(BYTES);
  return { vm, ram, workload: new GuestWorkload(vm, { memory: ram, pageShift: 12, ...options }) };
}

/** Numbers of the host pages whose contents differ. */
function changedPages(before: Uint8Array, after: Uint8Array, pageBytes: number): number[] {
  const pages: number[] = [];
  for (let page = 0; page * pageBytes < before.length; page++) {
    const part = (of: Uint8Array): Uint8Array => of.subarray(page * pageBytes, (page + 1) * pageBytes);
    if (Buffer.compare(part(before), part(after)) !== 0) pages.push(page);
  }
  return pages;
}

function contentsOf(ram: GuestRam): Uint8Array {
  const bytes = new Uint8Array(ram.bytes);
  ram.read(0, bytes);
  return bytes;
}

function bitsOf(log: Uint8Array): number[] {
  return Array.from(log.entries()).flatMap(([index, byte]) =>
    [0, 1, 2, 3, 4, 5, 6, 7].filter((bit) => ((byte >> bit) & 1) === 1).map((bit) => index * 8 + bit),
  );
}

describe('memory with contents', () => {
  test('is zeros until it is written, keeps what crosses blocks, and ends where it ends', () => {
    const ram = new GuestRam(2 ** 17);
    const bytes = Uint8Array.from({ length: 5000 }, (_, index) => index % 251);
    ram.write(65_000, bytes);
    const back = new Uint8Array(5002).fill(9);
    ram.read(64_999, back);
    expect([back[0], back[5001]]).toEqual([0, 0]);
    expect(Buffer.compare(back.subarray(1, 5001), bytes)).toBe(0);
    expect(() => ram.write(2 ** 17 - 1, Uint8Array.of(1, 2))).toThrow(RangeError);
    expect(() => ram.read(-1, back)).toThrow(RangeError);
    for (const size of [0, 4096, 65_537, 2 ** 45]) expect(() => new GuestRam(size)).toThrow(RangeError);
  });

  test('a seed decides it, however the steps are divided', async () => {
    const whole = await machine({ seed: 4 });
    whole.workload.step(3000);
    const parts = await machine({ seed: 4 });
    for (let step = 0; step < 3000; step += 100) parts.workload.step(100);
    expect(parts.workload.checksum).toBe(whole.workload.checksum);
    expect(whole.workload.checksum).not.toBe(0);
    expect(Buffer.compare(contentsOf(parts.ram), contentsOf(whole.ram))).toBe(0);
  });

  test.each([12, 16, 24] as const)(
    'guests with pages of 2^%i bytes find what they stored',
    async (pageShift) => {
      const { workload } = await machine({ pageShift, pages: 400 }, 12);
      workload.step(3000);
      expect(workload.counts.stores).toBeGreaterThan(300);
    },
  );

  test('pages that are put back to what they were are found at the next load, with what was wanted', async () => {
    const { ram, workload } = await machine({ mix: { ...NOTHING, fault: 1, store: 1 } });
    workload.step(2000);
    const before = contentsOf(ram);
    workload.step(200);
    const changed = changedPages(before, contentsOf(ram), 4096);
    ram.write(0, before);
    let error: unknown;
    try {
      workload.step(100_000);
    } catch (thrown) {
      error = thrown;
    }
    expect(error).toBeInstanceOf(GuestMemoryError);
    const { name, page, guestAddress, wanted, found, message } = error as GuestMemoryError;
    expect({ name, guestAddress }).toEqual({ name: 'GuestMemoryError', guestAddress: page * 4096 });
    expect(changed).toContain(page);
    expect(message).toContain(`guest page ${page} is wrong`);
    expect(message).toContain(`found 0x${found.toString(16)}, wanted 0x${wanted.toString(16)}`);
  });

  test('an entry that leads elsewhere is found', async () => {
    const { vm, workload } = await machine({ mix: { ...NOTHING, fault: 1, store: 1 } });
    workload.step(1000);
    const table = vm.table!;
    const ptex = table.valid.next(0);
    const { v, r } = table.get(ptex)!;
    table.set(ptex, v, r ^ 0x1000n);
    expect(() => workload.step(100_000)).toThrow(GuestMemoryError);
  });
});

describe('the dirty log of a guest with memory', () => {
  test.each([12, 16])(
    'names every host page of 2^%i bytes that was stored to, evicted or not',
    async (pageShift) => {
      const { vm, ram, workload } = await machine({ seed: 5, mix: { evict: 20 } }, pageShift);
      const reader = vm.openFile(0, 0);
      if (typeof reader === 'number') throw new Error('open failed');
      const buffer = new Uint8Array(65_536);
      for (let round = 0; round < 12; round++) {
        const before = contentsOf(ram);
        workload.step(150);
        // Passes over the table harvest C too, and take nothing from the log.
        reader.read(buffer);
        const log = bitsOf(vm.getDirtyLog(0));
        expect(log).toEqual(changedPages(before, contentsOf(ram), 2 ** pageShift));
        expect(vm.getDirtyLog(0).every((byte) => byte === 0)).toBe(true);
      }
      expect(workload.counts.evictions).toBeGreaterThan(300);
    },
  );

  test('a pass harvests C after the log has, and the other way round', async () => {
    const { vm, ram, workload } = await machine({ mix: { ...NOTHING, store: 1, fault: 1 } });
    workload.step(500);
    vm.getDirtyLog(0);
    const before = contentsOf(ram);
    workload.step(100);
    const changed = changedPages(before, contentsOf(ram), 4096);
    const table = vm.openFile(0, 0);
    if (typeof table === 'number') throw new Error('open failed');
    const bytes = table.read(new Uint8Array(2 ** 20));
    expect(bytes).toBeGreaterThan(0);
    expect(bitsOf(vm.getDirtyLog(0))).toEqual(changed);
  });
});

describe('registers', () => {
  test('with its table and its memory, a guest goes on elsewhere as if it had not moved', async () => {
    const stayed = await machine({ seed: 6 });
    stayed.workload.step(5000);

    const source = await machine({ seed: 6 });
    source.workload.step(2500);
    const target = await machine();
    for (const [ptex, { v, r }] of source.vm.table!) target.vm.table!.set(ptex, v, r);
    target.ram.write(0, contentsOf(source.ram));
    const registers = source.workload.registers();
    const moved = new GuestWorkload(target.vm, { memory: target.ram, registers });
    expect(moved.counts).toEqual(source.workload.counts);
    moved.step(2500);
    expect(moved.checksum).toBe(stayed.workload.checksum);
    expect(moved.counts).toEqual(stayed.workload.counts);
    expect(Buffer.compare(contentsOf(target.ram), contentsOf(stayed.ram))).toBe(0);
  });

  test('without memory a guest goes on too', async () => {
    const options = { seed: 6, pages: 500 };
    const vms = [new EmulatedVm(), new EmulatedVm()] as const;
    for (const vm of vms) await vm.allocateHpt(18);
    const stayed = new GuestWorkload(vms[0], options);
    stayed.step(1000);
    const first = new GuestWorkload(vms[1], options);
    first.step(400);
    new GuestWorkload(vms[1], { registers: first.registers() }).step(600);
    expect(digestTable(vms[1].table!)).toBe(digestTable(vms[0].table!));
  });

  test('what are no registers is refused: cut, longer, of another table, and any byte changed', async () => {
    const { vm, workload } = await machine({ pages: 20, seed: 8 });
    workload.step(200);
    const good = workload.registers();
    const refuse = (registers: Uint8Array): void => {
      expect(() => new GuestWorkload(vm, { registers })).toThrow(RangeError);
    };
    for (let length = 0; length < good.length; length += 7) refuse(good.subarray(0, length));
    refuse(Buffer.concat([good, Buffer.alloc(8)]));
    for (let at = 0; at < 400; at++) {
      const changed = Uint8Array.from(good);
      changed[at]! ^= 0x10;
      let error: unknown;
      try {
        new GuestWorkload(vm, { registers: changed });
      } catch (thrown) {
        error = thrown;
      }
      if (error !== undefined) expect(error).toBeInstanceOf(RangeError);
    }
  });
});
