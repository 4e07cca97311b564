import { constants } from 'node:fs';
import { open } from 'node:fs/promises';
import { HPTE_BYTES, MAX_STREAM_ORDER, MIN_ORDER } from '../hpt/geometry.js';
import { HPTE_V_VALID } from '../hpt/hpte.js';
import { HptTable } from '../hpt/table.js';
import { systemCall } from '../node/system-call.js';
import { readSnapshot } from '../snapshot/read.js';
import { TableWriter } from '../io/table-writer.js';
import { GuestWorkload } from '../testing/workload.js';
import { EmulatedVm } from '../vm/emulated/emulated-vm.js';
import { RunningGuest } from './demo/running-guest.js';
import type { EmulatedSpec } from './emulated-spec.js';
import type { ControlledGuest } from './guest/controlled-guest.js';
import { UsageError } from './usage-error.js';

const CHUNK_BYTES = 1 << 20;

/** An emulated VM with a guest in it; `control` is there if the guest runs. */
export interface EmulatedGuest {
  readonly vm: EmulatedVm;
  /** log2 of the table's bytes. */
  readonly order: number;
  readonly control: ControlledGuest | undefined;
}

/** Makes the VM that a spec describes, and lets its guest go. */
export async function startEmulatedGuest(spec: EmulatedSpec): Promise<EmulatedGuest> {
  const { host, pageShift, seed, steps, rate } = spec;
  const vm = new EmulatedVm({ host, pageShift });
  const given = await givenTable(spec);
  const order = given?.order ?? spec.order;
  await vm.allocateHpt(order);
  if (given !== undefined) {
    await using handle = await vm.openHtab({ access: 'write' });
    await new TableWriter(handle).write(given);
  }
  if (steps === 0 && rate === 0) return { vm, order, control: undefined };

  const workload = new GuestWorkload(vm, { seed });
  workload.step(steps);
  if (rate === 0) return { vm, order, control: undefined };
  const guest = new RunningGuest(workload, rate);
  guest.resume();
  return { vm, order, control: controlOf(guest) };
}

function controlOf(guest: RunningGuest): ControlledGuest {
  return {
    pause: () => guest.pause(),
    resume: () => {
      guest.resume();
      return Promise.resolve();
    },
    close: () => {
      // Its timer would keep the process alive. A failure of the guest has nobody left to tell.
      guest.pause().catch(() => undefined);
    },
  };
}

async function givenTable({ table }: EmulatedSpec): Promise<HptTable | undefined> {
  if (table === undefined) return undefined;
  return table.kind === 'image' ? readImage(table.path) : (await readSnapshot(table.path)).table;
}

/** The table in a file that is its memory: 16 bytes an entry, big-endian. */
async function readImage(path: string): Promise<HptTable> {
  const operation = `read the image ${path}`;
  // Without O_NONBLOCK, opening a FIFO would wait for a writer, and hold a thread of the pool.
  const opening = open(path, constants.O_RDONLY | constants.O_NONBLOCK);
  await using file = await systemCall(operation, opening);
  const { size } = await systemCall(operation, file.stat());
  const order = Math.log2(size);
  if (!Number.isInteger(order) || order < MIN_ORDER || order > MAX_STREAM_ORDER) {
    throw new UsageError(
      `the image ${path} has ${size} bytes; a table has 2^${MIN_ORDER} to 2^${MAX_STREAM_ORDER}`,
    );
  }
  const table = new HptTable(order);
  const chunk = Buffer.alloc(CHUNK_BYTES);
  for (let position = 0; position < size;) {
    const { bytesRead } = await systemCall(operation, file.read(chunk, 0, CHUNK_BYTES, position));
    const whole = bytesRead - (bytesRead % HPTE_BYTES);
    if (whole === 0) throw new UsageError(`the image ${path} has become shorter while it was read`);
    for (let at = 0; at < whole; at += HPTE_BYTES) {
      if ((chunk[at + 7]! & HPTE_V_VALID) === 0) continue;
      table.set((position + at) / HPTE_BYTES, chunk.readBigUInt64BE(at), chunk.readBigUInt64BE(at + 8));
    }
    position += whole;
  }
  return table;
}
