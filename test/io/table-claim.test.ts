import { pipeline } from 'node:stream/promises';
import { expect, onTestFinished, test } from 'vitest';
import { isHtabError } from '../../lib/base/errors.js';
import { digestTable } from '../../lib/hpt/digest.js';
import { createReadStream } from '../../lib/io/read-stream.js';
import { HptReader } from '../../lib/io/reader.js';
import { readTable } from '../../lib/io/read-table.js';
import { resizeHpt } from '../../lib/io/resize.js';
import { createWriteStream } from '../../lib/io/write-stream.js';
import { receiveHpt } from '../../lib/migration/destination/receive.js';
import { sendHpt } from '../../lib/migration/source/send.js';
import { loadSnapshot } from '../../lib/snapshot/load.js';
import { readSnapshot } from '../../lib/snapshot/read.js';
import { saveSnapshot } from '../../lib/snapshot/save.js';
import { FaultScript, Gate } from '../../lib/testing/faults.js';
import type { HtabVm } from '../../lib/vm/contract.js';
import { EmulatedVm } from '../../lib/vm/emulated/emulated-vm.js';
import { scratchFiles } from '../scratch.js';
import { linkStreams } from '../migration/harness/linked-streams.js';

const ORDER = 18;
const scratch = scratchFiles();

/** A guest with bolted entries only, which every operation below keeps: also a resize. */
async function bootedVm(): Promise<EmulatedVm> {
  const vm = new EmulatedVm();
  await vm.allocateHpt(ORDER);
  vm.enterGuest();
  return vm;
}

const model = await bootedVm();
const table = await readTable(model);
const digest = digestTable(table);

/** An operation on a VM's table. It leaves the table as it is, and rejects unless it has done all that it is for. */
interface Operation {
  readonly use: 'read' | 'write' | 'replace';
  readonly run: (vm: HtabVm) => Promise<unknown>;
}

/** Moves a table; whatever becomes of it, no connection is left. */
async function moved(source: HtabVm, target: HtabVm): Promise<void> {
  const ends = linkStreams();
  const [ours, theirs] = ends;
  const guest = { pause: () => Promise.resolve(), resume: () => Promise.resolve() };
  const both = [sendHpt(source, ours, guest), receiveHpt(target, theirs)] as const;
  // One that is refused has never touched its end.
  for (const end of ends) end.on('error', () => undefined);
  for (const side of both) side.catch(() => ends.forEach((end) => end.destroy()));
  const results = await Promise.allSettled(both);
  // The other side's error only says that its connection broke.
  const reasons = results.flatMap((result) => (result.status === 'rejected' ? [result.reason as Error] : []));
  const own = reasons.find((reason) => 'state' in reason) ?? reasons[0];
  if (own !== undefined) throw own;
  expect(await both[1]).toMatchObject({ order: ORDER });
  expect((await both[1]).digest()).toBe(digest);
}

const OPERATIONS: Readonly<Record<string, Operation>> = {
  HptReader: {
    use: 'read',
    run: async (vm) => {
      await using reader = await HptReader.open(vm);
      const target = new EmulatedVm();
      await target.allocateHpt(ORDER);
      await pipeline(() => reader.pass(), createWriteStream(target));
      expect(digestTable(target.table!)).toBe(digest);
    },
  },
  createReadStream: {
    use: 'read',
    run: async (vm) => {
      const target = new EmulatedVm();
      await target.allocateHpt(ORDER);
      await pipeline(createReadStream(vm), createWriteStream(target));
      expect(digestTable(target.table!)).toBe(digest);
    },
  },
  readTable: {
    use: 'read',
    run: async (vm) => {
      expect(digestTable(await readTable(vm))).toBe(digest);
    },
  },
  saveSnapshot: {
    use: 'read',
    run: async (vm) => {
      const file = scratch('snapshot');
      await saveSnapshot(vm, file);
      expect((await readSnapshot(file)).info).toMatchObject({ digest, quiescent: true });
    },
  },
  sendHpt: { use: 'read', run: (vm) => moved(vm, new EmulatedVm()) },
  createWriteStream: {
    use: 'write',
    run: (vm) => pipeline(createReadStream(model), createWriteStream(vm)),
  },
  loadSnapshot: {
    use: 'replace',
    run: async (vm) => {
      const file = scratch('given');
      await saveSnapshot(await bootedVm(), file);
      await loadSnapshot(file, vm, { readBack: true });
    },
  },
  receiveHpt: { use: 'replace', run: async (vm) => moved(await bootedVm(), vm) },
  resizeHpt: { use: 'replace', run: (vm) => resizeHpt(vm, ORDER) },
};

/** Whether two of them would harm each other: readers take changes from each other, and a new table has nobody's. */
function exclude(first: Operation, second: Operation): boolean {
  return first.use === second.use || [first.use, second.use].includes('replace');
}

const NAMES = Object.keys(OPERATIONS);
const pairs = NAMES.flatMap((first) => NAMES.map((second) => [first, second] as const));

/** The first call at which an operation is held; calls of the VM itself would keep each other waiting. */
const HELD_AT = { read: 'read', write: 'write', replace: 'openHtab' } as const;

/** Begins an operation and holds it, until the gate is released. */
async function begun(vm: EmulatedVm, { use, run }: Operation) {
  const gate = new Gate();
  onTestFinished(() => {
    gate.release();
  });
  const held = new FaultScript([{ kind: 'hold', call: HELD_AT[use], gate }]).wrapVm(vm);
  const ending = run(held);
  ending.catch(() => undefined);
  await gate.reached;
  return { held, gate, ending };
}

test.each(pairs)(
  'while %s works, %s of the same VM is refused as busy or succeeds, and both end',
  async (nameOfFirst, nameOfSecond) => {
    const [first, second] = [OPERATIONS[nameOfFirst]!, OPERATIONS[nameOfSecond]!];
    const vm = await bootedVm();
    const { held, gate, ending } = await begun(vm, first);
    if (exclude(first, second)) {
      await expect(second.run(held)).rejects.toMatchObject({ code: 'ERR_HTAB_STATE', state: 'busy' });
    } else {
      await second.run(held);
    }
    gate.release();
    await ending;
    expect(digestTable(vm.table!)).toBe(digest);
    // A real-mode area is what a resize asks of a guest whose table is new.
    vm.enterGuest();
    await second.run(held);
    expect(digestTable(vm.table!)).toBe(digest);
  },
);

test.each(NAMES)('%s releases the VM after a failure', async (name) => {
  const { run } = OPERATIONS[name]!;
  const vm = await bootedVm();
  const failing = new FaultScript([{ kind: 'errno', call: 'openHtab', errno: 'ENOMEM' }]).wrapVm(vm);
  await expect(run(failing)).rejects.toThrow('ENOMEM');
  await loadSnapshot({ info: (await snapshotInfo()).info, table }, failing);
});

async function snapshotInfo() {
  const file = scratch('info');
  await saveSnapshot(model, file);
  return readSnapshot(file);
}

test.each(NAMES)(
  '%s ends, with a typed error if with any, though the table is allocated anew meanwhile',
  async (name) => {
    for (const order of [ORDER, ORDER + 1]) {
      const vm = await bootedVm();
      const { gate, ending } = await begun(vm, OPERATIONS[name]!);
      await vm.allocateHpt(order);
      gate.release();
      const [result] = await Promise.allSettled([ending]);
      if (result.status === 'rejected' && !isAssertion(result.reason)) {
        expect(isHtabError(result.reason), String(result.reason)).toBe(true);
      }
    }
  },
);

/** Of the checks in the operations themselves: the table is another one. */
function isAssertion(error: unknown): boolean {
  return (error as Error).name === 'AssertionError';
}

test('resizeHpt refuses a second resize of a VM before it prepares a table', async () => {
  const vm = await bootedVm();
  const script = new FaultScript();
  const counted = script.wrapVm(vm);
  const first = resizeHpt(counted, 19);
  await expect(resizeHpt(counted, 20)).rejects.toMatchObject({
    state: 'busy',
    message: expect.stringContaining('in use by resizeHpt') as string,
  });
  await first;
  expect(vm.hptOrder).toBe(19);
  expect(script.calls('prepareHptResize')).toBe(2);
});

test('resizeHpt rejects where the table is allocated anew during the preparation', async () => {
  const vm = await bootedVm();
  const prepare = vm.prepareHptResize.bind(vm);
  vm.prepareHptResize = async (order) => {
    const waitMs = await prepare(order);
    if (waitMs === 0 && order !== 0) await vm.allocateHpt(22);
    return waitMs;
  };
  await expect(resizeHpt(vm, 20)).rejects.toMatchObject({
    state: 'order-changed',
    message: expect.stringContaining("the VM's table has order 22; nothing was resized") as string,
  });
  expect(vm.hptOrder).toBe(22);
});
