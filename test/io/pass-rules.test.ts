import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { HptReader } from '../../lib/io/reader.js';
import { EmulatedVm } from '../../lib/vm/emulated/emulated-vm.js';
import type { HtabHandle, HtabVm } from '../../lib/vm/contract.js';
import { ModelVm } from './model-vm.js';
import { fold, headers, type Pair } from './wire-records.js';

const ORDER = 18;
const ENTRIES = 16_384;

/** A guest that changes its own table between reads. */
interface Guest {
  readonly vm: HtabVm;
  set(ptex: number, r: bigint): void;
  delete(ptex: number): void;
  /** The table as a reader must come to see it. */
  entries(): Map<number, Pair>;
  dirtyCount(): number;
}

function modelGuest(): Guest {
  const vm = new ModelVm(ORDER);
  return {
    vm,
    set: (ptex, r) => {
      vm.set(ptex, [0x41n, r]);
    },
    delete: (ptex) => {
      vm.delete(ptex);
    },
    entries: () => vm.entries,
    dirtyCount: () => vm.dirty.size,
  };
}

async function emulatedGuest(): Promise<Guest> {
  const [H_REMOVE, H_ENTER, EXACT] = [0x04, 0x08, 1n << 39n];
  const vm = new EmulatedVm();
  await vm.allocateHpt(ORDER);
  const remove = (ptex: number): void => {
    vm.hcall(H_REMOVE, [0n, BigInt(ptex), 0n]);
  };
  return {
    vm,
    set: (ptex, r) => {
      remove(ptex);
      expect(vm.hcall(H_ENTER, [EXACT, BigInt(ptex), 1n, r])[0]).toBe(0n);
    },
    delete: remove,
    entries: () => {
      const { valid } = vm.table!;
      const entries = new Map<number, Pair>();
      for (let ptex = valid.next(0); ptex < ENTRIES; ptex = valid.next(ptex + 1)) {
        const { v, r } = vm.table!.get(ptex)!;
        entries.set(ptex, [v, r]);
      }
      return entries;
    },
    dirtyCount: () => vm.table!.dirty.count,
  };
}

// Changes fall in packed runs, at scattered entries and at the table's ends, so that buffers fill in every way.
const ptexes = fc.oneof(
  fc.integer({ min: 0, max: 60 }),
  fc.integer({ min: ENTRIES - 54, max: ENTRIES - 1 }),
  fc.integer({ min: 0, max: ENTRIES - 1 }),
  fc.constantFrom(0, 1, ENTRIES - 2, ENTRIES - 1),
);
const changes = fc.array(fc.tuple(ptexes, fc.constantFrom(1, 1, 2, 5, 40), fc.boolean()), { maxLength: 8 });
const bufferBytes = fc.oneof(fc.integer({ min: 25, max: 60 }), fc.integer({ min: 60, max: 700 }));

/** Makes changes, each with a value of its own. */
function changer(guest: Guest): (all: readonly [ptex: number, count: number, remove: boolean][]) => void {
  let stamp = 0n;
  return (all) => {
    for (const [ptex, count, remove] of all) {
      stamp++;
      for (let i = ptex; i < Math.min(ptex + count, ENTRIES); i++) {
        if (remove) guest.delete(i);
        else guest.set(i, stamp << 12n);
      }
    }
  };
}

describe.each([
  ['model', modelGuest],
  ['emulated kernel', emulatedGuest],
])('pass rules on the %s', (_, makeGuest) => {
  test.each([ORDER, undefined])(
    'no change is lost, whenever it is made: after quiescence the fold of all passes is the table (order %s)',
    async (order) => {
      await fc.assert(
        fc.asyncProperty(
          changes,
          fc.array(changes, { maxLength: 40 }),
          bufferBytes,
          fc.array(fc.boolean(), { maxLength: 20 }),
          async (before, rounds, bytes, leaves) => {
            const guest = await makeGuest();
            const change = changer(guest);
            change(before);
            const options = order === undefined ? { bufferBytes: bytes } : { bufferBytes: bytes, order };
            await using reader = new HptReader(await guest.vm.openHtab(), options);
            const folded = new Map<number, Pair>();
            for (const pending = [...rounds], left = [...leaves]; ;) {
              for await (const chunk of reader.pass()) {
                fold(chunk, folded);
                change(pending.shift() ?? []);
                if (left.shift() === true) break;
              }
              if (reader.quiescent && pending.length === 0) break;
              change(pending.shift() ?? []);
            }
            expect(folded).toEqual(guest.entries());
            expect(guest.dirtyCount()).toBe(0);
          },
        ),
        { numRuns: 120 },
      );
    },
  );

  test('a pass goes upwards, and quiescence is never claimed over a changed table', async () => {
    await fc.assert(
      fc.asyncProperty(
        changes,
        fc.array(changes, { maxLength: 10 }),
        bufferBytes,
        async (before, rounds, bytes) => {
          const guest = await makeGuest();
          const change = changer(guest);
          change(before);
          await using reader = await HptReader.open(guest.vm, { bufferBytes: bytes });
          for (const round of [...rounds, []]) {
            let reached = 0;
            for await (const chunk of reader.pass()) {
              for (const [index, validCount, invalidCount] of headers(chunk)) {
                expect(index).toBeGreaterThanOrEqual(reached);
                reached = index + validCount + invalidCount;
              }
            }
            if (reader.quiescent) expect(guest.dirtyCount()).toBe(0);
            change(round);
          }
        },
      ),
      { numRuns: 80 },
    );
  });

  test('what two readers read, in the order of their reads, makes the table (0, trap 8)', async () => {
    await fc.assert(
      fc.asyncProperty(
        changes,
        fc.array(fc.tuple(changes, fc.nat({ max: 1 })), { maxLength: 40 }),
        fc.tuple(bufferBytes, bufferBytes),
        async (before, steps, bytes) => {
          const guest = await makeGuest();
          const change = changer(guest);
          change(before);
          const folded = new Map<number, Pair>();
          const readers: HptReader[] = [];
          for (const bufferBytes of bytes) {
            const handle = foldReads(await guest.vm.openHtab(), folded);
            readers.push(new HptReader(handle, { order: ORDER, bufferBytes }));
          }
          const passes = readers.map((reader) => reader.pass());
          const step = async (which: number): Promise<void> => {
            if ((await passes[which]!.next()).done === true) passes[which] = readers[which]!.pass();
          };
          for (const [round, which] of steps) {
            change(round);
            await step(which);
          }
          for (const [which, reader] of readers.entries()) {
            while (!reader.quiescent || guest.dirtyCount() > 0) await step(which);
            await reader.close();
          }
          expect(folded).toEqual(guest.entries());
        },
      ),
      { numRuns: 80 },
    );
  });
});

/** A handle that folds what is read when it is read: what was read ahead reaches its consumer later than that. */
function foldReads(handle: HtabHandle, folded: Map<number, Pair>): HtabHandle {
  return {
    access: 'read',
    read: async (buffer) => {
      const bytes = await handle.read(buffer);
      fold(buffer.subarray(0, bytes), folded);
      return bytes;
    },
    write: (bytes) => handle.write(bytes),
    writeRecords: (bytes) => handle.writeRecords(bytes),
    close: () => handle.close(),
    [Symbol.asyncDispose]: () => handle.close(),
  };
}
