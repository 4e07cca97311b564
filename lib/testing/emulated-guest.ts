import type { EmulatedVm } from '../vm/emulated/emulated-vm.js';
import type { GuestRam } from '../vm/emulated/guest-ram.js';
import { GuestWorkload } from '../vm/emulated/guest-workload.js';
import { RunningGuest } from '../vm/emulated/running-guest.js';
import type { AgentGuest, AgentMemory } from './agent/guest.js';

/** What an {@link EmulatedGuest} lives in. */
export interface EmulatedGuestOptions {
  /** Region 0 of its memory is `ram`, from guest address 0 on. */
  readonly vm: EmulatedVm;
  readonly ram: GuestRam;
  /** Steps that it takes per second when it runs; read again and again, so that a getter may slow it down. */
  readonly stepsPerSecond: number;
}

/**
 * An emulated guest as an agent moves it: a workload with memory. At a destination there is none until an agent has brought
 * its registers.
 *
 * @example
 * const ram = new GuestRam(2 ** 28);
 * const region = { guestAddress: 0n, size: 2n ** 28n, hostPageShift: 24, populated: true };
 * const vm = new EmulatedVm({ memoryRegions: [region] });
 * await vm.allocateHpt(20);
 * const guest = new EmulatedGuest({ vm, ram, stepsPerSecond: 5000 }, new GuestWorkload(vm, { memory: ram }));
 */
export class EmulatedGuest implements AgentGuest {
  readonly memory: AgentMemory;
  readonly #options: EmulatedGuestOptions;
  #workload: GuestWorkload | undefined;
  #running: RunningGuest | undefined;

  constructor(options: EmulatedGuestOptions, workload?: GuestWorkload) {
    const { vm, ram } = options;
    this.#options = options;
    if (workload !== undefined) this.#take(workload);
    this.memory = {
      bytes: ram.bytes,
      pageBytes: 2 ** vm.pageShift,
      dirtyLog: () => promised(() => vm.getDirtyLog(0)),
      read: (offset, into) => promised(() => ram.read(offset, into)),
      write: (offset, bytes) => promised(() => ram.write(offset, bytes)),
    };
  }

  /** The guest itself, once it is here. */
  get workload(): GuestWorkload | undefined {
    return this.#workload;
  }

  /** @throws TypeError before the guest is here */
  registers(): Promise<Uint8Array> {
    return promised(() => {
      if (this.#workload === undefined) throw new TypeError('there is no guest here');
      return this.#workload.registers();
    });
  }

  /** @throws RangeError for bytes that are no workload's registers */
  setRegisters(registers: Uint8Array): Promise<void> {
    const { vm, ram } = this.#options;
    return promised(() => this.#take(new GuestWorkload(vm, { memory: ram, registers })));
  }

  /** @throws GuestMemoryError if the guest has found its memory wrong */
  async pause(): Promise<void> {
    await this.#running?.pause();
  }

  resume(): Promise<void> {
    return promised(() => this.#running?.resume());
  }

  #take(workload: GuestWorkload): void {
    this.#workload = workload;
    this.#running = new RunningGuest(workload, this.#options);
  }
}

/** What a call gives or throws, as a promise. */
function promised<T>(call: () => T): Promise<T> {
  return new Promise((resolve) => resolve(call()));
}
