import type { PassProgress } from '../../../lib/precopy/pass-progress.js';
import type { SourceTable } from '../../../lib/migration/tables.js';
import { resizeTable } from '../../../lib/testing/resize.js';
import type { HtabHandle } from '../../../lib/vm/contract.js';
import { EmulatedVm } from '../../../lib/vm/emulated/emulated-vm.js';
import { TestGuest } from './test-guest.js';

export const ORDER = 20;

/** How its table is reached. */
export const ACCESSES = [
  'VM',
  'descriptor + reopen',
  'descriptor + reopen from 0 only',
  'bare descriptor',
] as const;
export type Access = (typeof ACCESSES)[number];

/** What becomes of the table. */
export const CHANGES = [
  'radix',
  'ALLOCATE of the same order',
  'rehash 20 -> 20',
  'grow',
  'shrink',
  'reset with bolted entries only',
] as const;
export type Change = (typeof CHANGES)[number];

/** When. */
export const MOMENTS = ['in pass 2', 'in pause()', 'in the last pass'] as const;
/** `when told`: {@link ReplacedGuest.replace} is called. */
export type Moment = (typeof MOMENTS)[number] | 'when told';

/** A guest whose table goes, once, at one moment of what reads it. */
export class ReplacedGuest extends TestGuest {
  changed = false;
  readonly #change: Change;
  readonly #moment: Moment;
  #passes = 0;

  static async start(change: Change, moment: Moment): Promise<ReplacedGuest> {
    const memory = { guestAddress: 0n, size: 1n << 30n, hostPageShift: 24, populated: true };
    const vm = new EmulatedVm({ host: 'power9', memoryRegions: [memory] });
    await vm.allocateHpt(ORDER);
    const guest = new ReplacedGuest(vm, change, moment);
    if (guest.#boltedOnly) {
      guest.#bolt(512);
    } else {
      // A table is resized only where the MMU is set up.
      vm.enterGuest();
      guest.workload.step(4000);
    }
    return guest;
  }

  private constructor(vm: EmulatedVm, change: Change, moment: Moment) {
    super(vm);
    this.#change = change;
    this.#moment = moment;
    const open = vm.openHtab.bind(vm);
    vm.openHtab = async (options) => this.#watched(await open(options));
  }

  async source(access: Access): Promise<EmulatedVm | (SourceTable & { readonly backend: 'emulated' })> {
    const { vm } = this;
    if (access === 'VM') return vm;
    const table = { handle: await vm.openHtab(), order: ORDER, backend: 'emulated' } as const;
    switch (access) {
      case 'descriptor + reopen':
        return { ...table, reopen: (startIndex) => vm.openHtab({ startIndex }) };
      case 'descriptor + reopen from 0 only':
        return { ...table, reopen: () => vm.openHtab() };
      case 'bare descriptor':
        return table;
    }
  }

  /** Callbacks that know the moment. */
  watch() {
    return {
      pause: async (): Promise<void> => {
        await this.pause();
        if (this.#moment === 'in pause()') await this.replace();
      },
      resume: async (): Promise<void> => {
        await this.resume();
        // One that was reset fills its table anew.
        if (!this.#boltedOnly) this.workload.step(300);
      },
      onProgress: ({ complete }: PassProgress): void => {
        if (complete) this.#passes++;
        if (this.state === 'running' && !this.#boltedOnly) this.workload.step(20);
      },
    };
  }

  get #boltedOnly(): boolean {
    return this.#change === 'reset with bolted entries only';
  }

  #watched(handle: HtabHandle): HtabHandle {
    const read = handle.read.bind(handle);
    handle.read = async (buffer) => {
      if (this.#moment === 'in pass 2' && this.#passes === 1) await this.replace();
      const bytes = await read(buffer);
      // The read that finds nothing more.
      if (this.#moment === 'in the last pass' && this.state === 'paused' && bytes === 0) await this.replace();
      return bytes;
    };
    return handle;
  }

  /** Takes the table away. */
  async replace(): Promise<void> {
    if (this.changed) return;
    this.changed = true;
    const { vm } = this;
    switch (this.#change) {
      case 'radix':
        await vm.configureMmu('radix');
        break;
      case 'ALLOCATE of the same order':
        await vm.allocateHpt(ORDER);
        break;
      case 'rehash 20 -> 20':
        await resizeTable(vm, ORDER);
        break;
      case 'grow':
        await resizeTable(vm, ORDER + 1);
        break;
      case 'shrink':
        await resizeTable(vm, ORDER - 1);
        break;
      case 'reset with bolted entries only':
        await vm.allocateHpt(ORDER);
        this.#bolt(256);
    }
  }

  #bolt(count: number): void {
    for (let k = 0n; k < count; k++) {
      this.vm.hcall(0x08, [1n << 39n, k * 64n, 0x11n | (k << 12n), 0x10190n + (k << 16n)]);
    }
  }
}
