import { readFileSync } from 'node:fs';
import { brotliDecompressSync } from 'node:zlib';
import { describe, expect, test } from 'vitest';
import { digestTable } from '../../../lib/hpt/digest.js';
import { virtualPageOf } from '../../../lib/hpt/hash.js';
import type { HptTable } from '../../../lib/hpt/table.js';
import { resizeTable } from '../../../lib/testing/resize.js';
import { GuestWorkload } from '../../../lib/vm/emulated/guest-workload.js';
import type { WorkloadOptions } from '../../../lib/vm/emulated/workload-options.js';
import { EmulatedVm } from '../../../lib/vm/emulated/emulated-vm.js';
import { ImageVm } from '../../../lib/vm/image/image-vm.js';
import { encode, record } from '../../../lib/testing/conformance/stream.js';

const VRMA_AT_END = encode(record(16_383, [[0x4001_ffff_ff00_0001n, 0x190n]]));

async function guest(order = 18): Promise<EmulatedVm> {
  const vm = new EmulatedVm();
  await vm.allocateHpt(order);
  return vm;
}

/** Entries whose address does not hash to where they stand, or whose page another entry maps too. */
function misplaced(table: HptTable): number[] {
  const found: number[] = [];
  const seen = new Set<string>();
  for (let ptex = table.valid.next(0); ptex < table.entryCount; ptex = table.valid.next(ptex + 1)) {
    const { v, r } = table.get(ptex)!;
    const page = virtualPageOf(ptex, v, r, table.order);
    const name = page && `${page.segment} ${page.vsid} ${page.offset}`;
    if (name === undefined || seen.has(name)) found.push(ptex);
    else seen.add(name);
  }
  return found;
}

/** The table and the counts after these calls. */
async function stateAfter(options: WorkloadOptions, ...calls: readonly number[]): Promise<string> {
  const vm = await guest();
  const workload = new GuestWorkload(vm, options);
  for (const count of calls) workload.step(count);
  return stateOf(vm, workload);
}

function stateOf(vm: EmulatedVm, workload: GuestWorkload): string {
  return JSON.stringify([digestTable(vm.table!), workload.counts]);
}

describe('a seed decides everything', () => {
  test('equal seeds and step counts give equal tables, however the steps are divided', async () => {
    const whole = await stateAfter({ seed: 9 }, 3000);
    expect(await stateAfter({ seed: 9 }, ...new Array<number>(300).fill(10))).toBe(whole);
    expect(await stateAfter({ seed: 9 }, 2999, 0, 1)).toBe(whole);
    expect(await stateAfter({ seed: 10 }, 3000)).not.toBe(whole);
    expect(await stateAfter({ seed: 9 }, 3100)).not.toBe(whole);
  });
});

describe('a guest from nothing', () => {
  test('every entry stands where its address hashes to, and no page has two', async () => {
    for (const pageShift of [12, 16, 24] as const) {
      const vm = await guest();
      const workload = new GuestWorkload(vm, { seed: 2, pageShift, pages: 4000 });
      workload.step(20_000);
      expect(vm.table!.validCount).toBeGreaterThan(1000);
      expect(misplaced(vm.table!)).toEqual([]);
    }
  });

  test('it does everything it is made for', async () => {
    const vm = await guest();
    const workload = new GuestWorkload(vm, { seed: 3 });
    workload.step(20_000);
    const { steps, faults, evictions, protections, loads, stores, idle } = workload.counts;
    expect(steps).toBe(20_000);
    for (const count of [faults, evictions, protections, loads, stores]) expect(count).toBeGreaterThan(500);
    expect(vm.table!.validCount).toBe(faults - evictions);
    expect(idle).toBeLessThan(2000);
  });

  test('pages go to their secondary group where the primary is full, then over a victim', async () => {
    const vm = await guest();
    const workload = new GuestWorkload(vm, { seed: 4, pages: 40_000, mix: { evict: 0, protect: 0 } });
    workload.step(120_000);
    const { faults, secondaryFaults, evictions } = workload.counts;
    expect(secondaryFaults).toBeGreaterThan(500);
    expect(evictions).toBeGreaterThan(500);
    expect(vm.table!.validCount).toBe(faults - evictions);
    expect(vm.table!.validCount).toBeGreaterThan(15_000);
    const secondary = Array.from({ length: 16_384 }, (_, ptex) => vm.table!.get(ptex)).filter(
      (entry) => entry !== undefined && (entry.v & 2n) !== 0n,
    );
    expect(secondary.length).toBeGreaterThan(100);
    expect(misplaced(vm.table!)).toEqual([]);
  });

  test('a mix of one kind does only that', async () => {
    const vm = await guest();
    const only = { fault: 0, evict: 0, protect: 0, load: 0, store: 0 };
    const faulting = new GuestWorkload(vm, { seed: 5, mix: { ...only, fault: 1 } });
    faulting.step(500);
    expect(faulting.counts).toMatchObject({ evictions: 0, protections: 0, stores: 0, loads: 500 });
    const reader = vm.openFile(0, 16_384);
    if (typeof reader === 'number') throw new Error('open failed');
    const buffer = new Uint8Array(65_536);
    expect(reader.read(buffer)).toBe(0);
    reader.read(buffer);
    expect(reader.read(buffer)).toBe(0);
    const storing = new GuestWorkload(vm, { seed: 5, pages: 0, mix: { ...only, store: 1 } });
    storing.step(100);
    expect(storing.counts).toMatchObject({ faults: 0, evictions: 0, loads: 0, stores: 100 });
    // A store to a page whose C is clear is a change that a later pass brings.
    expect(reader.read(buffer)).toBeGreaterThan(0);
  });

  test('an empty guest with nothing to fault in is idle', async () => {
    const workload = new GuestWorkload(await guest(), { pages: 0 });
    workload.step(100);
    expect(workload.counts).toMatchObject({ steps: 100, idle: 100 });
  });

  test('a VM without a table, and a mix without weight, are refused', async () => {
    expect(() => new GuestWorkload(new EmulatedVm())).toThrow(TypeError);
    const none = { fault: 0, evict: 0, protect: 0, load: 0, store: 0 };
    const vm = await guest();
    expect(() => new GuestWorkload(vm, { mix: none })).toThrow(RangeError);
  });
});

describe('a guest that lives on', () => {
  test('the table of a real Linux guest: its entries take part, its bolted ones stay', async () => {
    const image = brotliDecompressSync(
      readFileSync(new URL('../../fixtures/linux-guest.img.br', import.meta.url)),
    );
    const source = ImageVm.fromImage(new Uint8Array(image));
    const vm = await guest(23);
    await using reader = await source.openHtab();
    await using writer = await vm.openHtab({ access: 'write' });
    const buffer = new Uint8Array(1 << 20);
    for (let length = await reader.read(buffer); length > 0; length = await reader.read(buffer)) {
      await writer.writeRecords(buffer.subarray(0, length));
    }
    const table = vm.table!;
    expect(table.validCount).toBe(17_812);
    const bolted = (): number[] =>
      Array.from({ length: table.entryCount }, (_, ptex) => ptex).filter(
        (ptex) => table.has(ptex) && (table.get(ptex)!.v & 0x10n) !== 0n,
      );
    const before = bolted();
    expect(before).toHaveLength(16_400);
    const wasMisplaced = misplaced(table);
    const held = Array.from({ length: table.entryCount }, (_, ptex) => ptex).filter((ptex) =>
      table.has(ptex),
    );

    const workload = new GuestWorkload(vm, { seed: 6 });
    workload.step(50_000);
    expect(bolted()).toEqual(before);
    expect(misplaced(table)).toEqual(wasMisplaced);
    expect(held.filter((ptex) => !table.has(ptex)).length).toBeGreaterThan(100);
    expect(workload.counts.idle).toBeLessThan(5000);
  });

  test('a resize in between: bolted pages are followed, all others fault in anew', async () => {
    const vm = await guest();
    const writer = await vm.openHtab({ access: 'write' });
    // 4K page 5 of segment 0, bolted, in the secondary group.
    await writer.writeRecords(encode(record(16_338, [[0x13n, 0x112n]])));
    const workload = new GuestWorkload(vm, { seed: 7 });
    workload.step(5000);
    await writer.writeRecords(VRMA_AT_END);
    await resizeTable(vm, 20);
    expect(vm.table!.validCount).toBe(1);
    const { faults, evictions } = workload.counts;
    workload.step(5000);
    const after = workload.counts;
    expect(after.faults).toBeGreaterThan(faults + 500);
    expect(vm.table!.validCount).toBe(1 + (after.faults - faults) - (after.evictions - evictions));
    expect(misplaced(vm.table!)).toEqual([]);
    expect(vm.hypercalls.read(65_490)).toBe(0);
    // C of the bolted page, whose only stores are those to page 0 of the list.
    expect(vm.hypercalls.entry[3]! & 0x80).toBe(0x80);
  });

  test('entries that others removed are faulted in again', async () => {
    const vm = await guest();
    const workload = new GuestWorkload(vm, { seed: 8 });
    workload.step(3000);
    await vm.allocateHpt(18);
    expect(vm.table!.validCount).toBe(0);
    workload.step(3000);
    expect(vm.table!.validCount).toBeGreaterThan(100);
    expect(misplaced(vm.table!)).toEqual([]);
  });
});

describe('run', () => {
  test('it takes steps until it is aborted, with one more vcpu in KVM_RUN', async () => {
    const vm = await guest();
    const workload = new GuestWorkload(vm, { seed: 9 });
    const controller = new AbortController();
    const running = workload.run({ stepsPerSecond: 1e6, signal: controller.signal });
    expect(vm.runningVcpus).toBe(1);
    while (workload.counts.steps < 1000) await new Promise(setImmediate);
    controller.abort();
    const steps = await running;
    expect(steps).toBe(workload.counts.steps);
    expect(vm.runningVcpus).toBe(0);
    expect(stateOf(vm, workload)).toBe(await stateAfter({ seed: 9 }, steps));
  });

  test('it takes no step if it is aborted already, and goes on when run again', async () => {
    const vm = await guest();
    const workload = new GuestWorkload(vm, { seed: 9 });
    expect(await workload.run({ stepsPerSecond: 1e6, signal: AbortSignal.abort() })).toBe(0);
    const controller = new AbortController();
    const running = workload.run({ stepsPerSecond: 1e6, signal: controller.signal });
    while (workload.counts.steps < 100) await new Promise(setImmediate);
    controller.abort();
    expect(await running).toBe(workload.counts.steps);
  });
});
