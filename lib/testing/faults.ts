import { constants } from 'node:os';
import { checkOneOf } from '../arguments.js';
import { HtabSystemError, errnoNumber } from '../errors.js';
import { HEADER_BYTES, readHeader, writeHeader } from '../format/header.js';
import { HPTE_BYTES } from '../hpt/geometry.js';
import { BaseHandle, BaseVm, checkCall, type CallResult } from '../vm/base.js';
import type { BackendName, HtabHandle, HtabVm, OpenHtabOptions } from '../vm/contract.js';

const CALLS = ['openHtab', 'allocateHpt', 'prepareHptResize', 'commitHptResize', 'read', 'write'] as const;
const KINDS: readonly Fault['kind'][] = ['errno', 'answer', 'short', 'hold', 'run', 'entry'];

/** Calls a fault can strike. `writeRecords` is one `write` per record, as it is for the kernel. */
export type FaultyCall = (typeof CALLS)[number];

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
 * - `answer`: the call does nothing and returns this number.
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

  /** @internal Counts the call, waits and runs what is to happen before it, and says what becomes of it. */
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

  /** @internal The lowest of `count` entries from `index` on whose fault strikes in the current write. */
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

/** What becomes of a call: a result of its own, before or after the real one, or fewer bytes to work on. */
interface Outcome {
  readonly result?: CallResult;
  readonly applied?: boolean;
  readonly maxBytes?: number;
}

/** Makes the call unless the script answers in its place. */
async function perform(outcome: Outcome, call: () => Promise<CallResult>): Promise<CallResult> {
  if (outcome.result === undefined) return answerOf(call);
  if (outcome.applied === true) await answerOf(call);
  return outcome.result;
}

/** The call's own answer, errno included; other errors pass through. */
async function answerOf(call: () => Promise<CallResult>): Promise<CallResult> {
  try {
    return await call();
  } catch (error) {
    if (error instanceof HtabSystemError) return -error.errno;
    throw error;
  }
}

class FaultyHandle extends BaseHandle {
  readonly #inner: HtabHandle;
  readonly #script: FaultScript;

  constructor(inner: HtabHandle, script: FaultScript) {
    super(inner.access);
    this.#inner = inner;
    this.#script = script;
  }

  protected override async readOnce(buffer: Uint8Array): Promise<CallResult> {
    const outcome = await this.#script.strike('read');
    const seen = buffer.subarray(0, outcome.maxBytes);
    return perform(outcome, async () =>
      this.#script.radix && this.access === 'read' ? 0 : this.#inner.read(seen),
    );
  }

  protected override async writeOnce(bytes: Uint8Array): Promise<CallResult> {
    const outcome = await this.#script.strike('write');
    const seen = bytes.subarray(0, outcome.maxBytes);
    return perform(outcome, () => this.#write(seen));
  }

  protected override closeOnce(): Promise<void> {
    return this.#inner.close();
  }

  async #write(bytes: Uint8Array): Promise<CallResult> {
    if (this.access === 'write') {
      if (this.#script.radix) return -errnoNumber('EINVAL');
      if (this.#script.running) return -errnoNumber('EBUSY');
    }
    const header = bytes.length < HEADER_BYTES ? undefined : readHeader(bytes, 0);
    const refused = header && this.#script.strikeEntry(header.index, header.validCount);
    if (header === undefined || refused === undefined) return this.#inner.write(bytes);

    const validCount = refused.entry - header.index;
    if (validCount > 0) {
      const before = bytes.slice(0, HEADER_BYTES + validCount * HPTE_BYTES);
      writeHeader(before, 0, { index: header.index, validCount, invalidCount: 0 });
      await this.#inner.write(before);
    }
    if (refused.errno === 'EIO') {
      const removal = new Uint8Array(HEADER_BYTES);
      writeHeader(removal, 0, { index: refused.entry, validCount: 0, invalidCount: 1 });
      await this.#inner.write(removal);
    }
    throw new HtabSystemError('write', refused.errno, { operation: 'write HPT record' });
  }
}

class FaultyVm extends BaseVm {
  readonly #inner: HtabVm;
  readonly #script: FaultScript;

  constructor(inner: HtabVm, script: FaultScript) {
    super();
    this.#inner = inner;
    this.#script = script;
  }

  get backend(): BackendName {
    return this.#inner.backend;
  }

  get hptOrder(): number | undefined {
    return this.#script.radix ? undefined : this.#inner.hptOrder;
  }

  protected override async allocate(order: number): Promise<CallResult> {
    return perform(await this.#script.strike('allocateHpt'), async () => {
      if (this.#script.running) return -errnoNumber('EBUSY');
      this.#script.radix = false;
      await this.#inner.allocateHpt(order);
      return 0;
    });
  }

  protected override async prepareResize(order: number): Promise<CallResult> {
    return perform(await this.#script.strike('prepareHptResize'), async () =>
      this.#script.radix ? -errnoNumber('EINVAL') : this.#inner.prepareHptResize(order),
    );
  }

  protected override async commitResize(order: number): Promise<CallResult> {
    return perform(await this.#script.strike('commitHptResize'), async () => {
      if (this.#script.radix) return -errnoNumber('EINVAL');
      await this.#inner.commitHptResize(order);
      return 0;
    });
  }

  protected override async open(options: OpenHtabOptions): Promise<HtabHandle> {
    const { result = 0 } = await this.#script.strike('openHtab');
    checkCall(result, 'KVM_PPC_GET_HTAB_FD', `open an HTAB ${options.access ?? 'read'} descriptor`);
    return this.#script.wrapHandle(await this.#inner.openHtab(options));
  }

  protected override closeOnce(): Promise<void> {
    return this.#inner.close();
  }
}
