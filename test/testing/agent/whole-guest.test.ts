import type { Duplex } from 'node:stream';
import { describe, expect, test } from 'vitest';
import { compareTables } from '../../../lib/hpt/compare.js';
import { readTable } from '../../../lib/io/read-table.js';
import { receiveHpt } from '../../../lib/migration/destination/receive.js';
import { sendHpt } from '../../../lib/migration/source/send.js';
import { DestinationAgent } from '../../../lib/testing/agent/destination.js';
import type { AgentGuest } from '../../../lib/testing/agent/guest.js';
import { SourceAgent } from '../../../lib/testing/agent/source.js';
import { EmulatedGuest } from '../../../lib/testing/emulated-guest.js';
import { EmulatedVm } from '../../../lib/vm/emulated/emulated-vm.js';
import { GuestMemoryError } from '../../../lib/vm/emulated/guest-contents.js';
import { GuestRam } from '../../../lib/vm/emulated/guest-ram.js';
import { GuestWorkload } from '../../../lib/vm/emulated/guest-workload.js';
import { cutAfter, linkStreams, type Wire } from '../../migration/harness/linked-streams.js';

const BYTES = 2 ** 22;
const STEPS_PER_SECOND = 5000;
const SEED = 21;
/** Small pages, most of them known: each step has something to find. */
const WORKLOAD = { seed: SEED, pageShift: 12, pages: 900, mix: { load: 60, store: 10 } } as const;

interface Machine {
  readonly vm: EmulatedVm;
  readonly ram: GuestRam;
  readonly guest: EmulatedGuest;
}

function emptyMachine(): Machine {
  const region = { guestAddress: 0n, size: BigInt(BYTES), hostPageShift: 12, populated: true };
  const vm = new EmulatedVm({ pageShift: 12, memoryRegions: [region] });
  const ram = new GuestRam(BYTES);
  return { vm, ram, guest: new EmulatedGuest({ vm, ram, stepsPerSecond: STEPS_PER_SECOND }) };
}

async function startedMachine(): Promise<Machine> {
  const { vm, ram } = emptyMachine();
  await vm.allocateHpt(18);
  const workload = new GuestWorkload(vm, { memory: ram, ...WORKLOAD });
  workload.step(5000);
  return { vm, ram, guest: new EmulatedGuest({ vm, ram, stepsPerSecond: STEPS_PER_SECOND }, workload) };
}

interface MoveOptions {
  /** What the agent at the source sees of the guest; default: all of it. */
  readonly seen?: AgentGuest;
  /** While the agent copies memory, before the table's migration begins. */
  readonly first?: () => Promise<void>;
  /** The n-th connection passes the n-th wires; later ones are whole. */
  readonly memoryWires?: readonly (readonly [Wire | undefined, Wire | undefined])[];
  readonly tableWires?: readonly (readonly [Wire | undefined, Wire | undefined])[];
  readonly onAccept?: () => void;
}

/** Moves all of a guest; it runs at the destination when this resolves. */
async function move(
  source: Machine,
  target: Machine,
  options: MoveOptions = {},
): Promise<{ finishes: number }> {
  const { seen = source.guest, memoryWires = [], tableWires = [] } = options;
  const migrationId = crypto.randomUUID();
  const receiver = new DestinationAgent(target.guest, migrationId);
  let memoryConnections = 0;
  const connectMemory = (): Promise<Duplex> => {
    const [ours, theirs] = linkStreams(...(memoryWires[memoryConnections++] ?? []));
    receiver.take(theirs);
    return Promise.resolve(ours);
  };
  const arrivals = new Arrivals();
  let tableConnections = 0;
  const connectTable = (): Promise<Duplex> => {
    const [ours, theirs] = linkStreams(...(tableWires[tableConnections++] ?? []));
    arrivals.add(theirs);
    return Promise.resolve(ours);
  };
  await using sender = new SourceAgent(seen, connectMemory, migrationId);
  await options.first?.();
  let finishes = 0;
  const { pause, resume, rest } = sender;
  const counted: typeof rest = { ...rest, finish: (call) => (finishes++, rest.finish(call)) };
  const accepting: typeof receiver.rest = {
    ...receiver.rest,
    accept: (state, call) => receiver.rest.accept(state, call).then(options.onAccept),
  };
  await Promise.all([
    sendHpt(source.vm, connectTable, { migrationId, pause, resume, rest: counted }),
    receiveHpt(target.vm, arrivals, { migrationId, rest: accepting }),
  ]);
  return { finishes };
}

/** Connections as they come, for `receiveHpt`. */
class Arrivals implements AsyncIterable<Duplex> {
  readonly #waiting: Duplex[] = [];
  #wake: (() => void) | undefined;

  add(channel: Duplex): void {
    this.#waiting.push(channel);
    this.#wake?.();
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Duplex> {
    for (;;) {
      const next = this.#waiting.shift();
      if (next !== undefined) yield next;
      else await new Promise<void>((resolve) => (this.#wake = resolve));
    }
  }
}

function contentsOf({ ram }: Machine): Uint8Array {
  const bytes = new Uint8Array(ram.bytes);
  ram.read(0, bytes);
  return bytes;
}

async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise((resolve) => setTimeout(resolve, 5));
}

function pagesOf(log: Uint8Array): number[] {
  return Array.from({ length: log.length * 8 }, (_, page) => page).filter(
    (page) => ((log[page >>> 3]! >>> (page & 7)) & 1) === 1,
  );
}

/** Lets the guest take some more steps, and compares it with one that has not moved. */
async function expectUnmoved(moved: Machine): Promise<void> {
  await moved.guest.pause();
  const workload = moved.guest.workload!;
  workload.step(5000);
  const { steps } = workload.counts;
  const stayed = await startedMachine();
  stayed.guest.workload!.step(steps - 5000);
  expect(workload.counts).toEqual(stayed.guest.workload!.counts);
  expect(workload.checksum).toBe(stayed.guest.workload!.checksum);
  expect(Buffer.compare(contentsOf(moved), contentsOf(stayed))).toBe(0);
  expect(compareTables(await readTable(moved.vm), await readTable(stayed.vm)).count).toBe(0);
}

describe('a whole guest', () => {
  test('is moved there and back and there again, and is what it would be unmoved', async () => {
    let here = await startedMachine();
    await here.guest.resume();
    for (let count = 0; count < 3; count++) {
      const there = emptyMachine();
      const { counts } = here.guest.workload!;
      await move(here, there, {
        first: () => until(() => here.guest.workload!.counts.steps > counts.steps + 500),
      });
      here = there;
    }
    expect(here.guest.workload!.counts.steps).toBeGreaterThan(6500);
    await expectUnmoved(here);
  });

  test('whose agent forgets the dirty pages of one log finds it at the next load', async () => {
    const source = await startedMachine();
    const target = emptyMachine();
    const { guest } = source;
    const forgotten = new Set<number>();
    let logs = 0;
    const dirtyLog = async (): Promise<Uint8Array> => {
      const log = await guest.memory.dirtyLog();
      // After the first log every page is copied.
      if (++logs > 1 && forgotten.size <= 5) for (const page of pagesOf(log)) forgotten.add(page);
      // For good: the guest must not repair it by another store.
      for (const page of forgotten) log[page >>> 3]! &= ~(1 << (page & 7));
      return log;
    };
    const seen: AgentGuest = {
      memory: { ...guest.memory, dirtyLog },
      registers: () => guest.registers(),
      setRegisters: (registers) => guest.setRegisters(registers),
      pause: () => guest.pause(),
      resume: () => guest.resume(),
    };
    await guest.resume();
    await move(source, target, { seen, first: () => until(() => forgotten.size > 5) });
    await target.guest.pause().catch(() => undefined);
    let found: unknown;
    try {
      target.guest.workload!.step(100_000);
    } catch (error) {
      found = error;
    }
    expect(found).toBeInstanceOf(GuestMemoryError);
    expect(forgotten).toContain((found as GuestMemoryError).page);
  });
});

describe('connections that break', () => {
  test.each([100, 40_000, 500_000, 1_500_000, 2_000_000])(
    "memory's, after %i bytes: the guest is moved all the same",
    async (length) => {
      const source = await startedMachine();
      const target = emptyMachine();
      await source.guest.resume();
      await move(source, target, { memoryWires: [[cutAfter(length), undefined]] });
      await expectUnmoved(target);
    },
  );

  test.each([60, 200, 400])("memory's, from the destination after %i bytes", async (length) => {
    const source = await startedMachine();
    const target = emptyMachine();
    await source.guest.resume();
    await move(source, target, { memoryWires: [[undefined, cutAfter(length)]] });
    await expectUnmoved(target);
  });
});

describe("the table's connection", () => {
  test('may break once the destination has accepted: the guest runs on, and all of it is finished again', async () => {
    const source = await startedMachine();
    const target = emptyMachine();
    await source.guest.resume();
    let accepts = 0;
    const cutOnceAccepted: Wire = (bytes) =>
      accepts === 0 ? { bytes } : { bytes: Buffer.alloc(0), cut: true };
    const { finishes } = await move(source, target, {
      tableWires: [[undefined, cutOnceAccepted]],
      onAccept: () => accepts++,
    });
    expect({ finishes, accepts }).toEqual({ finishes: 2, accepts: 2 });
    await expectUnmoved(target);
  });
});
