import { constants } from 'node:os';
import { checkOneOf } from '../base/arguments.js';
import { errnoNumber } from '../base/errno.js';
import type { HtabHandle, HtabVm } from '../vm/contract.js';
import { CALLS, FaultyHandle, FaultyVm, type FaultyCall, type Outcome } from './faulty-vm.js';

const KINDS: readonly Fault['kind'][] = ['errno', 'answer', 'short', 'hold', 'run', 'entry'];

/** Which calls a fault strikes. */
export interface Strike {
  readonly call: FaultyCall;
  /** Number of the first call struck, counted from 1 over all handles of the script. Default 1. */
  readonly nth?: number;
  /** How many calls in a row are struck. Default 1. */
  readonly times?: number;
}

/**
 * One thing that goes wrong.
 *
 * - `errno`: the call is refused. With `applied` it takes effect first and is refused then, as a read whose buffer
 *   faults half way does: its changes are lost (kernel-abi.md 2.4).
 * - `answer`: the call does nothing and returns this number: of `allocateHpt` the order granted.
 * - `short`: the call sees only the first `maxBytes` of the buffer. The kernel never cuts a buffer itself; a
 *   descriptor that is not quite the kernel's may.
 * - `hold`: the call waits until the gate is released, as in a kernel that scans a huge quiet table.
 * - `run`: the action runs before the call: a resize in mid-pass, a guest that changes what was just read.
 * - `entry`: every write whose first record makes this entry valid is refused, `times` times (default: always). Entries
 *   before it are applied, and EIO removes what the entry held, as in the kernel (kernel-abi.md 4.2).
 */
export type Fault =
  | (Strike & { readonly kind: 'errno'; readonly errno: string; readonly applied?: boolean })
  | (Strike & { readonly kind: 'answer'; readonly result: number })
  | (Strike & { readonly kind: 'short'; readonly maxBytes: number })
  | (Strike & { readonly kind: 'hold'; readonly gate: Gate })
  | (Strike & { readonly kind: 'run'; readonly action: () => void | Promise<void> })
  | { readonly kind: 'entry'; readonly entry: number; readonly errno: string; readonly times?: number };

/** A fault that struck, and the call it struck. */
export interface FaultRecord {
  readonly fault: Fault;
  readonly call: FaultyCall;
  /** Number of the call, counted from 1. */
  readonly callNumber: number;
}

/** Holds a call until a test lets it go on; no timers are involved. */
export class Gate {
  /** Resolves when the first call arrives at the gate. */
  readonly reached: Promise<void>;
  readonly #opened: Promise<void>;
  #arrive!: () => void;
  #open!: () => void;

  constructor() {
    this.reached = new Promise((resolve) => (this.#arrive = resolve));
    this.#opened = new Promise((resolve) => (this.#open = resolve));
  }

  /** Arrives at the gate; resolves once it is open. */
  pass(): Promise<void> {
    this.#arrive();
    return this.#opened;
  }

  /** Opens the gate for good. */
  release(): void {
    this.#open();
  }
}

/**
 * A script of faults for a VM and its descriptors, on any backend. Without faults the wrapped VM answers as the VM
 * itself; the same script over the same calls always strikes the same way.
 *
 * @example
 * const vm = new FaultScript([{ kind: 'errno', call: 'write', nth: 3, errno: 'EBUSY' }]).wrapVm(new EmulatedVm());
 */
export class FaultScript {
  /** While true a vcpu seems to run: writing and allocating fail with EBUSY (kernel-abi.md 4.1, 5.1). */
  running = false;
  /**
   * While true the guest seems to use radix: reads return 0 and keep their place, writes and resizes fail with EINVAL
   * (kernel-abi.md 2.3, 4.1, 5.2). Allocating makes it a hash guest again.
   */
  radix = false;
  readonly #faults: readonly Fault[];
  readonly #struck: FaultRecord[] = [];
  readonly #calls = new Map<FaultyCall, number>();

  /** @throws TypeError for a fault that could never strike: its kind, call or errno does not exist */
  constructor(faults: readonly Fault[] = []) {
    faults.forEach(checkFault);
    this.#faults = faults;
  }

  /** The faults that struck so far, in order. */
  get struck(): readonly FaultRecord[] {
    return this.#struck;
  }

  /**
   * How many such calls were made so far.
   *
   * @throws TypeError for a call that does not exist
   */
  calls(call: FaultyCall): number {
    checkOneOf('call', call, CALLS);
    return this.#calls.get(call) ?? 0;
  }

  /** Wraps a VM and every descriptor opened through the wrapper. Closing the wrapper closes the VM. */
  wrapVm(vm: HtabVm): HtabVm {
    return new FaultyVm(vm, this);
  }

  /** Wraps one descriptor, such as an adopted one. Closing the wrapper closes the descriptor. */
  wrapHandle(handle: HtabHandle): HtabHandle {
    return new FaultyHandle(handle, this);
  }

  /** @internal See faulty-vm.ts. */
  async strike(call: FaultyCall): Promise<Outcome> {
    const callNumber = this.calls(call) + 1;
    this.#calls.set(call, callNumber);
    let outcome: Outcome = {};
    for (const fault of this.#faults) {
      if (fault.kind === 'entry' || fault.call !== call) continue;
      const { nth = 1, times = 1 } = fault;
      if (callNumber < nth || callNumber >= nth + times) continue;
      this.#struck.push({ fault, call, callNumber });
      if (fault.kind === 'hold') await fault.gate.pass();
      else if (fault.kind === 'run') await fault.action();
      else if (fault.kind === 'short') outcome = { ...outcome, maxBytes: fault.maxBytes };
      else if (fault.kind === 'answer') outcome = { ...outcome, result: fault.result };
      else outcome = { ...outcome, result: -errnoNumber(fault.errno), applied: fault.applied ?? false };
    }
    return outcome;
  }

  /** @internal See faulty-vm.ts. */
  strikeEntry(index: number, count: number): { entry: number; errno: string } | undefined {
    let found: (Fault & { kind: 'entry' }) | undefined;
    for (const fault of this.#faults) {
      if (fault.kind !== 'entry' || fault.entry < index || fault.entry >= index + count) continue;
      const used = this.#struck.filter((record) => record.fault === fault).length;
      if (used < (fault.times ?? Infinity) && fault.entry < (found?.entry ?? Infinity)) found = fault;
    }
    if (found !== undefined)
      this.#struck.push({ fault: found, call: 'write', callNumber: this.calls('write') });
    return found;
  }
}

function checkFault(fault: Fault): void {
  checkOneOf('fault.kind', fault.kind, KINDS);
  if (fault.kind !== 'entry') checkOneOf('fault.call', fault.call, CALLS);
  if ('errno' in fault) checkOneOf('fault.errno', fault.errno, Object.keys(constants.errno));
}
