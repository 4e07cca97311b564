import { describe, expect, test } from 'vitest';
import { HptTable } from '../../lib/hpt/table.js';
import { readTable } from '../../lib/io/read-table.js';
import type { OpenFresh } from '../../lib/io/fresh-look.js';
import { checkNamed, recheckTable } from '../../lib/io/recheck.js';
import { FaultScript } from '../../lib/testing/faults.js';
import { GuestWorkload } from '../../lib/vm/emulated/guest-workload.js';
import { EmulatedVm } from '../../lib/vm/emulated/emulated-vm.js';
import type { HtabHandle } from '../../lib/vm/contract.js';
import { ImageVm } from '../../lib/vm/image/image-vm.js';

const ORDER = 20;
const ENTRIES = 65_536;
const H_ENTER = 0x08;

function enter(vm: EmulatedVm, ptex: number, v = 0x11n): void {
  vm.hcall(H_ENTER, [1n << 39n, BigInt(ptex), v, 0x10190n]);
}

async function guest(fill?: (vm: EmulatedVm) => void): Promise<{ vm: EmulatedVm; known: HptTable }> {
  const vm = new EmulatedVm();
  await vm.allocateHpt(ORDER);
  if (fill === undefined) new GuestWorkload(vm, { pages: 8000 }).step(10_000);
  else fill(vm);
  return { vm, known: await readTable(vm) };
}

/** Opens descriptors of a VM, and records where they begin and how large their reads are. */
function recording(
  vm: EmulatedVm,
  readOnEntries: number | undefined,
): { opener: OpenFresh; opened: number[]; reads: number[]; open: () => number } {
  const opened: number[] = [];
  const reads: number[] = [];
  let open = 0;
  const openOne = async (startIndex: number): Promise<HtabHandle> => {
    opened.push(startIndex);
    open++;
    const handle = await vm.openHtab({ startIndex });
    const read = handle.read.bind(handle);
    const close = handle.close.bind(handle);
    handle.read = (buffer) => {
      reads.push(buffer.length);
      return read(buffer);
    };
    handle.close = () => {
      open--;
      return close();
    };
    return handle;
  };
  return { opener: Object.assign(openOne, { readOnEntries }), opened, reads, open: () => open };
}

describe('recheckTable of the same table', () => {
  test.each<[string, ((vm: EmulatedVm) => void) | undefined]>([
    ['of a guest that has worked', undefined],
    ['that is empty', () => undefined],
    ['of one entry, its last', (vm) => enter(vm, ENTRIES - 1)],
    [
      'that is full at both ends',
      (vm) => [0, 1, 2, 3, 4, 65_532, 65_533, 65_534, 65_535].forEach((at) => enter(vm, at)),
    ],
  ])('accepts %s, also whole and where descriptors begin at 0', async (_, fill) => {
    const { vm, known } = await guest(fill);
    await recheckTable(known, vm);
    await recheckTable(known, vm, { whole: true });
    await recheckTable(known, (startIndex) => vm.openHtab({ startIndex }));
    await recheckTable(known, () => vm.openHtab());
    await checkNamed(ORDER, vm);
  });

  test('makes 49 reads of 64 bytes where the entries are far from each other', async () => {
    const { vm, known } = await guest();
    const { opener, opened, reads } = recording(vm, 0);
    await recheckTable(known, opener);
    expect(opened.length).toBeGreaterThanOrEqual(25);
    expect(opened.length).toBeLessThanOrEqual(49);
    expect(reads).toEqual(opened.map(() => 64));
    // All parts of the table are looked at.
    for (let part = 0; part < 8; part++) {
      expect(opened.some((ptex) => Math.floor(ptex / (ENTRIES / 8)) === part)).toBe(true);
    }
  });

  test('reads one descriptor on over all that is near, and closes every descriptor', async () => {
    const { vm, known } = await guest();
    const { opener, opened, reads, open } = recording(vm, undefined);
    await recheckTable(known, opener);
    // The last entry, and from the first sample on to the last one.
    expect(opened).toHaveLength(2);
    expect(reads.length).toBeLessThanOrEqual(4);
    expect(open()).toBe(0);
  });

  test('reads an image once, because opening a descriptor of it is a scan', async () => {
    const image = new ImageVm();
    await image.allocateHpt(18);
    new DataView(image.image!.buffer).setBigUint64(16 * 77, 0x11n);
    image.findChanges();
    const script = new FaultScript();
    const known = await readTable(image);
    await recheckTable(known, script.wrapVm(image));
    expect(script.calls('openHtab')).toBe(1);
  });
});

describe('recheckTable of another table', () => {
  test.each<[string, (vm: EmulatedVm) => Promise<void>, object]>([
    ['was cleared', (vm) => vm.allocateHpt(ORDER), { state: 'replaced' }],
    ['is smaller', (vm) => vm.allocateHpt(ORDER - 1), { state: 'order-changed' }],
    ['is larger', (vm) => vm.allocateHpt(ORDER + 1), { state: 'order-changed' }],
    ['went with radix', (vm) => vm.configureMmu('radix'), { reason: 'no-table' }],
  ])('rejects a table that %s, however descriptors are opened', async (_, change, expected) => {
    const { vm, known } = await guest();
    await change(vm);
    for (const whole of [true, false]) {
      await expect(recheckTable(known, vm, { whole })).rejects.toMatchObject(expected);
      const chosen: OpenFresh = (startIndex) => vm.openHtab({ startIndex });
      await expect(recheckTable(known, chosen, { whole })).rejects.toMatchObject(expected);
      await expect(recheckTable(known, () => vm.openHtab(), { whole })).rejects.toMatchObject(expected);
    }
  });

  test('finds a difference in any part of the table, bolted or not', async () => {
    for (const bolted of [true, false]) {
      // One eighth of all entries is gone, wherever it stood.
      for (let part = 0; part < 8; part++) {
        const { vm, known } = await guest((fresh) => {
          for (let ptex = 0; ptex < ENTRIES; ptex += 64) enter(fresh, ptex, bolted ? 0x11n : 0x1n);
        });
        for (let ptex = (part * ENTRIES) / 8; ptex < ((part + 1) * ENTRIES) / 8; ptex += 64) {
          vm.hcall(0x04, [0n, BigInt(ptex), 0n]);
        }
        for (const { opener } of [recording(vm, 0), recording(vm, undefined)]) {
          const failure = await recheckTable(known, opener).catch(
            (error: unknown) => error as { ptex?: number },
          );
          expect(failure).toMatchObject({ state: 'replaced' });
          expect(Math.floor(failure!.ptex! / (ENTRIES / 8))).toBe(part);
        }
      }
    }
  });

  test('finds the entries that a resize drops, however few among bolted ones', async () => {
    const { vm, known } = await guest((fresh) => {
      for (let ptex = 0; ptex < ENTRIES; ptex += 8) enter(fresh, ptex, ptex % 800 === 8 ? 0x1n : 0x11n);
    });
    for (let ptex = 0; ptex < ENTRIES; ptex += 8) {
      if (ptex % 800 === 8) vm.hcall(0x04, [0n, BigInt(ptex), 0n]);
    }
    await expect(recheckTable(known, vm)).rejects.toMatchObject({ state: 'replaced' });
  });

  test.each<[string, (vm: EmulatedVm) => Promise<void>, object]>([
    ['goes with radix', (vm) => vm.configureMmu('radix'), { reason: 'no-table' }],
    ['shrinks', (vm) => vm.allocateHpt(18), { state: 'order-changed' }],
    ['grows', (vm) => vm.allocateHpt(24), { state: 'order-changed' }],
    ['is cleared', (vm) => vm.allocateHpt(ORDER), { state: 'replaced' }],
  ])('rejects a table that %s while a descriptor is read on', async (_, change, expected) => {
    const { vm, known } = await guest((fresh) => {
      for (let ptex = 0; ptex < ENTRIES; ptex += 2) enter(fresh, ptex);
    });
    const { opener, reads } = recording(vm, undefined);
    const changing = async (startIndex: number): Promise<HtabHandle> => {
      const handle = await opener(startIndex);
      const read = handle.read.bind(handle);
      handle.read = async (buffer) => {
        // The second read of the second descriptor.
        if (reads.length === 2) await change(vm);
        return read(buffer);
      };
      return handle;
    };
    await expect(recheckTable(known, changing)).rejects.toMatchObject(expected);
    expect(reads.length).toBeGreaterThan(2);
  });

  test('finds another order of an empty table', async () => {
    const vm = new EmulatedVm();
    await vm.allocateHpt(19);
    const opener: OpenFresh = (startIndex) => vm.openHtab({ startIndex });
    await recheckTable(new HptTable(19), opener);
    for (const order of [18, 20]) {
      await expect(recheckTable(new HptTable(order), opener)).rejects.toMatchObject({
        state: 'order-changed',
      });
      await expect(checkNamed(order, opener)).rejects.toMatchObject({ state: 'order-changed' });
    }
  });

  test('reads the whole table where later descriptors begin at 0', async () => {
    const { vm, known } = await guest((fresh) => {
      for (let ptex = 0; ptex < ENTRIES; ptex += 64) enter(fresh, ptex);
    });
    vm.hcall(0x04, [0n, BigInt(ENTRIES - 64 * 100), 0n]);
    let opened = 0;
    const opener: OpenFresh = Object.assign(
      (startIndex: number) => vm.openHtab(++opened <= 3 ? { startIndex } : {}),
      { readOnEntries: 0 },
    );
    await expect(recheckTable(known, opener)).rejects.toMatchObject({
      state: 'replaced',
      ptex: ENTRIES - 64 * 100,
    });
  });

  test('opens no descriptor after an abort', async () => {
    const { vm, known } = await guest();
    const reason = new Error('enough');
    const signal = AbortSignal.abort(reason);
    await expect(recheckTable(known, vm, { signal })).rejects.toBe(reason);
    await expect(recheckTable(known, vm, { whole: true, signal })).rejects.toBe(reason);
  });
});
