import assert from 'node:assert/strict';
import { constants } from 'node:os';
import { checkOneOf } from '../../base/arguments.js';
import { HtabStateError, HtabSystemError, type HtabState } from '../../base/errors.js';
import { entryCount } from '../../hpt/geometry.js';
import type { HtabHandle, HtabVm, OpenHtabOptions } from '../../vm/contract.js';
import { encode, record, render, VRMA, type StreamRecord } from './stream.js';

const CAPABILITIES = [
  'lock-bit',
  'power8',
  'power9',
  'resize',
  'over-read',
  'bounded-write',
  'vcpu',
  'running',
  'radix',
  'dirty-log',
] as const;

/**
 * What a backend can be asked for beyond the contract.
 *
 * - `lock-bit`: returned entries carry v bit 0x40, as the kernel's do (kernel-abi.md 3.1)
 * - `power8`, `power9`: which bits of v come back as they were written (kernel-abi.md 3.1), and whether the dirty log has
 *   the pages of entries that the guest has removed (3.3)
 * - `resize`: PREPARE and COMMIT, and the MMU-ready state that COMMIT depends on (kernel-abi.md 4.5, 5)
 * - `over-read`: a write may take up to 8 bytes after the buffer given, as the kernel does (kernel-abi.md 4.2)
 * - `bounded-write`: such a write is refused instead
 * - `vcpu`: the guest can make hypercalls and touch memory
 * - `running`: a vcpu can be put into KVM_RUN
 * - `radix`: the guest can be switched to radix and back
 * - `dirty-log`: stores of the guest are logged, by host pages of 4 or 64 KiB (kernel-abi.md 3.3)
 */
export type Capability = (typeof CAPABILITIES)[number];

/** What the suite can make the guest of a VM do; what no declared capability needs may be left out. */
export interface ConformanceGuest {
  /** Makes a hypercall; returns r3, r4 .. r11 (capability `vcpu`). */
  hcall?(opcode: number, args: bigint[]): bigint[] | Promise<bigint[]>;
  /** References, or stores to, memory through a mapped entry (capability `vcpu`). */
  access?(ptex: number, options: { store: boolean }): unknown;
  /** Puts a vcpu into KVM_RUN, or takes it out (capability `running`). */
  setRunning?(running: boolean): void | Promise<void>;
  /** Switches the guest's MMU (capability `radix`). */
  setRadix?(radix: boolean): void | Promise<void>;
  /** KVM_GET_DIRTY_LOG of the memory at guest address 0: bit n (byte n >> 3, lowest first) is page n (capability `dirty-log`). */
  dirtyLog?(): Uint8Array | Promise<Uint8Array>;
}

/** What the guest must be able to do for each capability. */
const GUEST_METHODS: Readonly<Partial<Record<Capability, readonly (keyof ConformanceGuest)[]>>> = {
  vcpu: ['hcall', 'access'],
  running: ['setRunning'],
  radix: ['setRadix'],
  'dirty-log': ['dirtyLog'],
};

/** A backend to run the suite on. */
export interface ConformanceBackend {
  readonly name: string;
  readonly capabilities: readonly Capability[];
  /** Makes a VM that has no table yet. The suite closes it. */
  createVm(): HtabVm | Promise<HtabVm>;
  /** The guest of a VM made by `createVm`; needed for `vcpu`, `running`, `radix` and `dirty-log`. */
  guestOf?(vm: HtabVm): ConformanceGuest;
}

/** One behaviour that every backend must show. */
export interface ConformanceCase {
  /** The behaviour as a sentence; unique in the suite. */
  readonly name: string;
  /**
   * The sections of kernel-abi.md that state it, with commas between them: `0 #n` is a trap, `11 #n` a golden vector. Or
   * `contract`, the interface of `HtabVm`; with a trap beside it where the kernel is not asked.
   */
  readonly section: string;
  readonly requires?: readonly Capability[];
  /** @internal Rejects, with an `AssertionError` where something differs; `runCase` calls it. */
  run(context: ConformanceContext): Promise<void>;
}

/** @throws TypeError for a capability that does not exist: its cases would be skipped without a word */
export function checkCapabilities({ capabilities }: ConformanceBackend): void {
  for (const each of capabilities) checkOneOf('backend.capabilities', each, CAPABILITIES);
}

/** What a case works with: VMs and descriptors that are closed after it, and comparisons of exact bytes. */
export class ConformanceContext implements AsyncDisposable {
  readonly #backend: ConformanceBackend;
  readonly #capabilities: readonly Capability[];
  readonly #open: AsyncDisposable[] = [];
  readonly #writers = new Map<HtabVm, HtabHandle>();

  /** @param capabilities what the backend is taken to be capable of, whatever it declares */
  constructor(backend: ConformanceBackend, capabilities = backend.capabilities) {
    checkCapabilities(backend);
    this.#backend = backend;
    this.#capabilities = capabilities;
  }

  has(capability: Capability): boolean {
    return this.#capabilities.includes(capability);
  }

  /** A VM with an empty table of this order, or with none. */
  async vm(order?: number): Promise<HtabVm> {
    const vm = await this.#backend.createVm();
    this.#open.push(vm);
    if (order !== undefined) await vm.allocateHpt(order);
    return vm;
  }

  guest(vm: HtabVm): Required<ConformanceGuest> {
    const { name, capabilities } = this.#backend;
    const guest = this.#backend.guestOf?.(vm);
    assert.ok(guest, `backend ${name} declares a capability that needs guestOf()`);
    for (const capability of capabilities) {
      for (const method of GUEST_METHODS[capability] ?? []) {
        const problem = `backend ${name} declares '${capability}', and its guest has no ${method}(): give it one, or do not declare it`;
        assert.ok(typeof guest[method] === 'function', problem);
      }
    }
    return guest as Required<ConformanceGuest>;
  }

  async open(vm: HtabVm, options?: OpenHtabOptions): Promise<HtabHandle> {
    const handle = await vm.openHtab(options);
    this.#open.push(handle);
    return handle;
  }

  /** A read descriptor past its first pass, at entry 0, with every mark of the table taken. */
  async laterReader(vm: HtabVm, options?: OpenHtabOptions): Promise<HtabHandle> {
    const handle = await this.open(vm, options);
    while ((await this.read(handle, 1 << 16)).length > 0);
    return handle;
  }

  /** Writes records through a write descriptor of the VM's own, one write each, and expects all to be taken. */
  async put(vm: HtabVm, ...records: readonly StreamRecord[]): Promise<void> {
    let writer = this.#writers.get(vm);
    if (writer === undefined) {
      writer = await this.open(vm, { access: 'write' });
      this.#writers.set(vm, writer);
    }
    for (const each of records) {
      const bytes = encode(each);
      assert.equal(await writer.write(bytes), bytes.length);
    }
  }

  /** Makes the MMU ready, as COMMIT needs it, by a last entry that a resize drops (kernel-abi.md 4.5). */
  async makeMmuReady(vm: HtabVm): Promise<void> {
    await this.put(vm, record(entryCount(vm.hptOrder ?? 0) - 1, [VRMA]));
  }

  /** One read; checks that nothing but the bytes returned was touched. */
  async read(handle: HtabHandle, count = 4096): Promise<Uint8Array> {
    const buffer = new Uint8Array(count).fill(0xa5);
    const length = await handle.read(buffer);
    assert.ok(length >= 0 && length <= count, `read of ${count} bytes returned ${length}`);
    assert.ok(
      buffer.subarray(length).every((byte) => byte === 0xa5),
      `read of ${count} bytes returned ${length} and touched bytes after them`,
    );
    return buffer.subarray(0, length);
  }

  /** One read of `count` bytes that must return exactly these records, entries given as they were written. */
  async expectRead(handle: HtabHandle, expected: readonly StreamRecord[], count = 4096): Promise<void> {
    assert.deepEqual(render(await this.read(handle, count)), this.lines(expected));
  }

  /** A new descriptor's first pass must be exactly these records; they fit 64 KiB. */
  async expectTable(vm: HtabVm, ...expected: readonly StreamRecord[]): Promise<void> {
    const handle = await this.open(vm);
    await this.expectRead(handle, expected, 1 << 16);
    await handle.close();
  }

  /** How records written so come back, one line each. */
  lines(records: readonly StreamRecord[]): string[] {
    const returned = records.map((each) => ({
      ...each,
      entries: each.entries.map(([v, r]) => [this.returnedV(v), r] as const),
    }));
    return render(encode(...returned));
  }

  /** How v comes back, bits 52..61 aside: without the kernel's private bits, and with its lock (kernel-abi.md 3.1). */
  returnedV(v: bigint): bigint {
    return (v & ~0x60n) | (this.has('lock-bit') ? 0x40n : 0n);
  }

  /** The call must fail as this system call with this errno, in the one error class and with all of its fields. */
  async expectErrno(call: Promise<unknown>, errnoName: string, syscall: string): Promise<HtabSystemError> {
    const error = await rejectionOf(call);
    assert.ok(
      error instanceof HtabSystemError,
      `expected ${errnoName} from ${syscall}, got ${String(error)}`,
    );
    const { code, errno, operation } = error;
    assert.deepEqual(
      { code, errno, errnoName: error.errnoName, syscall: error.syscall },
      {
        code: 'ERR_HTAB_SYSTEM',
        errno: (constants.errno as Record<string, number>)[errnoName],
        errnoName,
        syscall,
      },
    );
    assert.ok(operation.length > 0, 'the error does not say what was tried');
    return error;
  }

  /** The call must fail because of the object's state. */
  async expectState(call: Promise<unknown>, ...states: readonly HtabState[]): Promise<void> {
    const error = await rejectionOf(call);
    assert.ok(error instanceof HtabStateError, `expected state ${states.join(' or ')}, got ${String(error)}`);
    assert.equal(error.code, 'ERR_HTAB_STATE');
    assert.ok(states.includes(error.state), `expected state ${states.join(' or ')}, got ${error.state}`);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const each of this.#open.reverse()) await each[Symbol.asyncDispose]();
  }
}

/** What the promise rejects with. */
export async function rejectionOf(promise: Promise<unknown>): Promise<unknown> {
  const outcome = await promise.then(
    (value) => ({ value }),
    (error: unknown) => ({ error }),
  );
  assert.ok('error' in outcome, 'expected a rejection');
  return outcome.error;
}
