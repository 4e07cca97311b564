import { errnoNumber } from '../base/errno.js';
import { HtabSystemError } from '../base/errors.js';
import { HPTE_BYTES } from '../hpt/geometry.js';
import { HEADER_BYTES, readHeader, writeHeader } from '../records/header.js';
import { BaseHandle } from '../vm/base-handle.js';
import { BaseVm } from '../vm/base-vm.js';
import { checkResult, type CallResult } from '../vm/call-result.js';
import type { BackendName, HtabHandle, HtabVm, OpenHtabOptions } from '../vm/contract.js';

export const CALLS = [
  'openHtab',
  'allocateHpt',
  'prepareHptResize',
  'commitHptResize',
  'read',
  'write',
] as const;

/** Calls a fault can strike. `writeRecords` is one `write` per record, as it is for the kernel. */
export type FaultyCall = (typeof CALLS)[number];

/** What becomes of a call: a result of its own, before or after the real one, or fewer bytes to work on. */
export interface Outcome {
  readonly result?: CallResult;
  readonly applied?: boolean;
  readonly maxBytes?: number;
}

/** What decides about the calls of a wrapped VM and its descriptors. */
interface Script {
  readonly running: boolean;
  radix: boolean;
  /** Counts the call, waits and runs what is to happen before it; resolves with what becomes of it. */
  strike(call: FaultyCall): Promise<Outcome>;
  /** The lowest of `count` entries from `index` on whose fault strikes in the current write. */
  strikeEntry(index: number, count: number): { entry: number; errno: string } | undefined;
}

/** Makes the call unless the script answers in its place. */
async function perform(
  syscall: string,
  { result, applied }: Outcome,
  call: () => Promise<CallResult>,
): Promise<number> {
  if (result === undefined) return checkResult(syscall, await call());
  if (applied === true) {
    // The answer below takes the place of what the kernel says.
    await call().catch((error: unknown) => {
      if (!(error instanceof HtabSystemError)) throw error;
    });
  }
  return checkResult(syscall, result);
}

export class FaultyHandle extends BaseHandle {
  readonly #inner: HtabHandle;
  readonly #script: Script;

  constructor(inner: HtabHandle, script: Script) {
    super(inner.access);
    this.#inner = inner;
    this.#script = script;
  }

  protected override async readOnce(buffer: Uint8Array): Promise<number> {
    const outcome = await this.#script.strike('read');
    const seen = buffer.subarray(0, outcome.maxBytes);
    return perform('read', outcome, async () =>
      this.#script.radix && this.access === 'read' ? 0 : this.#inner.read(seen),
    );
  }

  protected override async writeOnce(bytes: Uint8Array): Promise<number> {
    const outcome = await this.#script.strike('write');
    const seen = bytes.subarray(0, outcome.maxBytes);
    return perform('write', outcome, () => this.#write(seen));
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

export class FaultyVm extends BaseVm {
  readonly #inner: HtabVm;
  readonly #script: Script;

  constructor(inner: HtabVm, script: Script) {
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

  protected override async allocate(order: number): Promise<number> {
    return perform('KVM_PPC_ALLOCATE_HTAB', await this.#script.strike('allocateHpt'), async () => {
      if (this.#script.running) return -errnoNumber('EBUSY');
      this.#script.radix = false;
      await this.#inner.allocateHpt(order);
      return order;
    });
  }

  protected override async prepareResize(order: number): Promise<number> {
    const outcome = await this.#script.strike('prepareHptResize');
    return perform('KVM_PPC_RESIZE_HPT_PREPARE', outcome, async () =>
      this.#script.radix ? -errnoNumber('EINVAL') : this.#inner.prepareHptResize(order),
    );
  }

  protected override async commitResize(order: number): Promise<void> {
    await perform('KVM_PPC_RESIZE_HPT_COMMIT', await this.#script.strike('commitHptResize'), async () => {
      if (this.#script.radix) return -errnoNumber('EINVAL');
      await this.#inner.commitHptResize(order);
      return 0;
    });
  }

  protected override async open(options: OpenHtabOptions): Promise<HtabHandle> {
    const { result = 0 } = await this.#script.strike('openHtab');
    checkResult('KVM_PPC_GET_HTAB_FD', result);
    return new FaultyHandle(await this.#inner.openHtab(options), this.#script);
  }

  protected override closeOnce(): Promise<void> {
    return this.#inner.close();
  }
}
