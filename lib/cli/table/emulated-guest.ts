import type { HptTable } from '../../hpt/table.js';
import { readTableFile } from '../../qemu/guest-file.js';
import { loadTable } from '../../io/table-writer.js';
import { GuestWorkload } from '../../vm/emulated/guest-workload.js';
import { EmulatedVm } from '../../vm/emulated/emulated-vm.js';
import { RunningGuest } from '../../vm/emulated/running-guest.js';
import type { EmulatedSpec } from './emulated-spec.js';
import type { GuestCallbacks } from '../../precopy/guest-options.js';

/** An emulated VM with a guest in it; `control` is set if the guest runs. */
export interface EmulatedVmWithGuest {
  readonly vm: EmulatedVm;
  /** log2 of the table's bytes. */
  readonly order: number;
  readonly control: GuestCallbacks | undefined;
  close(): Promise<void>;
}

/** Creates the VM that a spec describes, and starts its guest. */
export async function startEmulatedGuest(spec: EmulatedSpec): Promise<EmulatedVmWithGuest> {
  const { host, pageShift, seed, steps, rate } = spec;
  const vm = new EmulatedVm({ host, pageShift });
  const given = await givenTable(spec);
  const order = given?.order ?? spec.order;
  if (given === undefined) await vm.allocateHpt(order);
  else await loadTable(vm, given);
  const stopped = { vm, order, control: undefined, close: () => vm.close() };
  if (steps === 0 && rate === 0) return stopped;

  const workload = new GuestWorkload(vm, { seed });
  workload.step(steps);
  if (rate === 0) return stopped;
  const guest = new RunningGuest(workload, { stepsPerSecond: rate });
  guest.resume();
  const close = (): Promise<void> => {
    // Its timer would keep the process alive. A failure of the guest cannot be reported any more.
    guest.pause().catch(() => undefined);
    return vm.close();
  };
  return { vm, order, control: controlOf(guest), close };
}

function controlOf(guest: RunningGuest): GuestCallbacks {
  return {
    pause: () => guest.pause(),
    resume: () => {
      guest.resume();
      return Promise.resolve();
    },
  };
}

async function givenTable({ file }: EmulatedSpec): Promise<HptTable | undefined> {
  return file === undefined ? undefined : (await readTableFile(file)).table;
}
