import assert from 'node:assert/strict';
import { virtualPageOf } from '../../lib/hpt/hash.js';
import { BaseVm } from '../../lib/vm/base-vm.js';
import { checkResult } from '../../lib/vm/call-result.js';
import type { HtabHandle, OpenHtabOptions } from '../../lib/vm/contract.js';
import { receiveHtab } from '../../lib/vm/kvm/handover.js';
import { Vmm } from './vmm.js';

const H_READ = 0x0c;
const SLB_VALID = 0x0800_0000n;
const SLB_1T = 1n << 62n;
/** Page-size bits of an SLB entry, by base page shift (kernel-abi.md 7). */
const SLB_PAGE_SIZE: Readonly<Record<number, bigint>> = { 12: 0n, 16: 0x110n, 24: 0x100n, 34: 0x120n };
/** Accesses go to the end of a page: at its beginning may be the guest's code. */
const OFFSET_IN_PAGE = 0xff0n;

/**
 * A VM of the real kernel with a guest that does what it is told, in the process of vmm/stepper.c. Its descriptors come over
 * the process's socket; on the table they are the kernel's own.
 */
export class SteppedVm extends BaseVm {
  readonly backend = 'kvm';
  readonly vmm: Vmm;
  #order: number | undefined;

  private constructor(vmm: Vmm) {
    super();
    this.vmm = vmm;
  }

  static async create(): Promise<SteppedVm> {
    return new SteppedVm(await Vmm.start('stepper'));
  }

  get hptOrder(): number | undefined {
    return this.#order;
  }

  /** Makes a hypercall; r3, r4 .. r11 as the guest gets them. */
  hcall(opcode: number, args: readonly bigint[]): Promise<bigint[]> {
    const words = [BigInt(opcode), ...args].map((word) => BigInt.asUintN(64, word).toString(16));
    return this.vmm.command(`hcall ${words.join(' ')}`);
  }

  /** Loads or stores through an entry, at the address that hashes to it. */
  async access(ptex: number, { store }: { readonly store: boolean }): Promise<'ok' | 'fault'> {
    const [, v = 0n, r = 0n] = await this.hcall(H_READ, [0n, BigInt(ptex)]);
    const page = virtualPageOf(ptex, v, r, this.#order ?? 0);
    assert.ok(page, `no address hashes to ptex ${ptex}`);
    const segmentShift = page.segment === '1T' ? 40n : 28n;
    const segment = 1n << segmentShift;
    const vsid =
      (page.vsid << (segmentShift - 16n)) |
      (page.segment === '1T' ? SLB_1T : 0n) |
      SLB_PAGE_SIZE[page.basePageShift]!;
    await this.vmm.command(`segment ${(segment | SLB_VALID | 1n).toString(16)} ${vsid.toString(16)}`);
    const address = segment + page.offset + OFFSET_IN_PAGE;
    const answer = await this.vmm.ask(`${store ? 'store' : 'load'} ${address.toString(16)} 5a`);
    return answer.startsWith('ok') ? 'ok' : 'fault';
  }

  /** KVM_GET_DIRTY_LOG. */
  async dirtyLog(): Promise<Uint8Array> {
    const [bitmap = ''] = await this.vmm.control.words('dirty-log');
    return Buffer.from(bitmap, 'hex');
  }

  /** Puts the vcpu into KVM_RUN, where it stays, or takes it out. */
  async setRunning(running: boolean): Promise<void> {
    await this.vmm.command(running ? 'spin' : 'halt');
  }

  /** KVM_PPC_CONFIGURE_V3_MMU. */
  async setRadix(radix: boolean): Promise<void> {
    await this.vmm.command(`configure ${radix ? '1 8000000000000000' : '0 0'}`);
    if (radix) this.#order = undefined;
  }

  protected async allocate(order: number): Promise<number> {
    await this.#ioctl('KVM_PPC_ALLOCATE_HTAB', `allocate ${order.toString(16)}`);
    return (this.#order = order);
  }

  protected prepareResize(order: number): Promise<number> {
    return this.#ioctl('KVM_PPC_RESIZE_HPT_PREPARE', `prepare ${order.toString(16)}`);
  }

  protected async commitResize(order: number): Promise<void> {
    await this.#ioctl('KVM_PPC_RESIZE_HPT_COMMIT', `commit ${order.toString(16)}`);
    this.#order = order;
  }

  protected open(options: OpenHtabOptions): Promise<HtabHandle> {
    const { access = 'read', boltedOnly = false, startIndex = 0 } = options;
    const flags = (access === 'write' ? 2 : 0) | (boltedOnly ? 1 : 0);
    return receiveHtab(this.vmm.socketPath, { request: `open ${flags} ${startIndex.toString(16)}\n` });
  }

  protected async closeOnce(): Promise<void> {
    await this.vmm.kill();
  }

  /** @throws CallFailure if the kernel refuses the ioctl */
  async #ioctl(syscall: string, request: string): Promise<number> {
    const [verdict, value = ''] = (await this.vmm.ask(request)).split(' ');
    return checkResult(syscall, verdict === 'ok' ? parseInt(value, 16) : -Number(value));
  }
}
