import type { HptTable } from '../../hpt/table.js';
import { loadTable } from '../../io/table-writer.js';
import { EmulatedGuest } from '../../testing/emulated-guest.js';
import { EmulatedVm } from '../../vm/emulated/emulated-vm.js';
import { GuestRam } from '../../vm/emulated/guest-ram.js';
import { GuestWorkload } from '../../vm/emulated/guest-workload.js';

/** Memory of the guest in the image; its kernel maps all of it. */
const MEMORY_BYTES = 2 ** 30;
/** Before it is moved, so that there is something in its memory. */
const FIRST_STEPS = 20_000;
/** After it has been moved, so that it looks at what was moved. */
export const EXTRA_STEPS = 10_000;
/** Few stores: each makes 64 KiB dirty. */
const MIX = { store: 2 };
const PAGES = 4096;

/** An emulated machine and the guest that is there, or will be. */
export interface Machine {
  readonly vm: EmulatedVm;
  readonly ram: GuestRam;
  readonly guest: EmulatedGuest;
}

/** A machine without a guest; `rate` is how many steps one takes per second. */
export function emptyMachine(rate: number): Machine {
  const { vm, ram } = hardware();
  return { vm, ram, guest: new EmulatedGuest({ vm, ram, stepsPerSecond: rate }) };
}

/** A machine whose guest has this table and has been at work; `pace` is read while it runs. */
export async function startGuest(
  table: HptTable,
  seed: number,
  pace: { readonly stepsPerSecond: number },
): Promise<Machine> {
  const { vm, ram } = hardware();
  await loadTable(vm, table);
  const workload = new GuestWorkload(vm, { seed, memory: ram, pages: PAGES, mix: MIX });
  workload.step(FIRST_STEPS);
  const options = {
    vm,
    ram,
    get stepsPerSecond() {
      return pace.stepsPerSecond;
    },
  };
  return { vm, ram, guest: new EmulatedGuest(options, workload) };
}

/** Of a POWER9 host: that of a POWER8 loses pages of the dirty log (kernel-abi.md 3.3), and the agent relies on it. */
function hardware(): Pick<Machine, 'vm' | 'ram'> {
  const region = { guestAddress: 0n, size: BigInt(MEMORY_BYTES), hostPageShift: 24, populated: true };
  return {
    vm: new EmulatedVm({ memoryRegions: [region] }),
    ram: new GuestRam(MEMORY_BYTES),
  };
}
