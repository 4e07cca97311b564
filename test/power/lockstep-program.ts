import { entryCount } from '../../lib/hpt/geometry.js';
import type { SeededRandom } from '../../lib/base/random.js';

/** One thing done to a VM. Plain data, so that a program can be printed, cut down and run again. */
export type Operation =
  | { readonly op: 'allocate' | 'prepare' | 'commit'; readonly order: number }
  | { readonly op: 'configure'; readonly mode: 'hash' | 'radix' }
  | {
      readonly op: 'open';
      readonly handle: number;
      readonly access: 'read' | 'write';
      readonly boltedOnly: boolean;
      readonly startIndex: number;
    }
  | { readonly op: 'close'; readonly handle: number }
  | { readonly op: 'read'; readonly handle: number; readonly bytes: number }
  | { readonly op: 'write' | 'writeRecords'; readonly handle: number; readonly hex: string };

const READ_BYTES = [0, 7, 24, 25, 33, 40, 41, 57, 89, 168, 169, 400, 4096, 4096, 65_536, 65_536, 300_000];
const ORDERS = [18, 18, 18, 19, 20, 21];
const BAD_ORDERS = [17, 47, -1, 18.5];
/** Page-size codes with their L bit: 4K, 64K, 16M, 16G, 64K in 4K, 16M in 4K, 16M in 64K (kernel-abi.md 7). */
const PAGE_SIZES: readonly (readonly [large: bigint, code: bigint])[] = [
  [0n, 0n],
  [0n, 0n],
  [4n, 0x01n],
  [4n, 0x00n],
  [4n, 0x03n],
  [4n, 0x07n],
  [4n, 0x38n],
  [4n, 0x08n],
];
const V_1T = 1n << 62n;
const V_VRMA = 0x4001_ffff_ff00_0001n;

/**
 * A random program for one VM. It knows what it asked for, not what was answered: an operation that makes no sense where
 * it stands is as good a question as any.
 *
 * @param length number of operations
 * @param modes what the guest's MMU may be switched to, as often as it stands there
 */
export function randomProgram(
  random: SeededRandom,
  length: number,
  modes: readonly ('hash' | 'radix')[],
): Operation[] {
  return new ProgramWriter(random, modes).write(length);
}

class ProgramWriter {
  readonly #random: SeededRandom;
  readonly #modes: readonly ('hash' | 'radix')[];
  readonly #program: Operation[] = [];
  readonly #open = new Map<number, 'read' | 'write'>();
  #order = 18;
  #handles = 0;

  constructor(random: SeededRandom, modes: readonly ('hash' | 'radix')[]) {
    this.#random = random;
    this.#modes = modes;
  }

  write(length: number): Operation[] {
    if (this.#random.chance(0.9)) this.#allocate();
    this.#openHandle('write');
    this.#openHandle('read');
    while (this.#program.length < length) this.#any();
    return this.#program.slice(0, length);
  }

  #any(): void {
    const choice = this.#random.below(1000);
    if (choice < 430) this.#write();
    else if (choice < 850) this.#read();
    else if (choice < 900) this.#openHandle(this.#random.chance(0.7) ? 'read' : 'write');
    else if (choice < 940) this.#close();
    else if (choice < 955) this.#allocate();
    else if (choice < 965) this.#add({ op: 'allocate', order: this.#pick(BAD_ORDERS) });
    else if (choice < 995) this.#resize();
    else this.#configure();
  }

  #add(operation: Operation): void {
    this.#program.push(operation);
  }

  #pick<T>(values: readonly T[]): T {
    return values[this.#random.below(values.length)]!;
  }

  #allocate(): void {
    this.#order = this.#pick(ORDERS);
    this.#add({ op: 'allocate', order: this.#order });
  }

  #resize(): void {
    const order = this.#random.chance(0.1) ? this.#pick([0, 17, 47]) : this.#pick(ORDERS);
    if (this.#random.chance(0.9)) this.#add({ op: 'prepare', order });
    if (this.#random.chance(0.2)) this.#write();
    if (this.#random.chance(0.9)) this.#add({ op: 'commit', order: this.#random.chance(0.95) ? order : 20 });
  }

  #configure(): void {
    this.#add({ op: 'configure', mode: this.#pick(this.#modes) });
    for (let count = this.#random.below(6); count > 0; count--) this.#read();
    if (this.#random.chance(0.8)) this.#allocate();
  }

  #openHandle(access: 'read' | 'write'): void {
    // Every open descriptor slows the VM's life down; a few are enough to get in each other's way.
    if (this.#open.size >= 6) this.#close();
    const entries = entryCount(this.#order);
    const startIndex = this.#random.chance(0.6)
      ? 0
      : this.#pick([this.#ptex(), this.#ptex(), entries - 1, entries, entries + 5, 2 ** 40]);
    const handle = this.#handles++;
    this.#open.set(handle, access);
    this.#add({ op: 'open', handle, access, boltedOnly: this.#random.chance(0.15), startIndex });
  }

  #close(): void {
    const handle = this.#handle();
    if (handle === undefined) return;
    this.#open.delete(handle);
    this.#add({ op: 'close', handle });
  }

  #handle(access?: 'read' | 'write'): number | undefined {
    const handles = [...this.#open].filter(([, its]) => access === undefined || its === access);
    return handles.length === 0 ? undefined : this.#pick(handles)[0];
  }

  #read(): void {
    const handle = this.#handle(this.#random.chance(0.97) ? 'read' : undefined);
    if (handle === undefined) return;
    const bytes = this.#random.chance(0.8) ? this.#pick(READ_BYTES) : this.#random.below(600);
    const times = this.#random.chance(0.3) ? 1 + this.#random.below(6) : 1;
    for (let time = 0; time < times; time++) this.#add({ op: 'read', handle, bytes });
  }

  #write(): void {
    const handle = this.#handle(this.#random.chance(0.97) ? 'write' : undefined);
    if (handle === undefined) return;
    const kind = this.#random.below(100);
    if (kind < 12) {
      const records = Array.from({ length: 1 + this.#random.below(8) }, () => this.#record());
      this.#add({ op: 'writeRecords', handle, hex: Buffer.concat(records).toString('hex') });
      return;
    }
    let bytes = this.#record();
    if (kind < 20) bytes = Buffer.concat([bytes, this.#record()]);
    else if (kind < 24) bytes = bytes.subarray(0, this.#random.below(bytes.length + 1));
    else if (kind < 28) bytes = Buffer.concat([bytes, this.#garbage(1 + this.#random.below(40))]);
    else if (kind < 30) bytes = this.#garbage(this.#random.below(80));
    if (reachesBeyond(bytes)) bytes = Buffer.alloc(8);
    this.#add({ op: 'write', handle, hex: bytes.toString('hex') });
  }

  /** Mostly one of few places, so that operations meet; the ends of the table and of groups are among them. */
  #ptex(): number {
    const entries = entryCount(this.#order);
    const choice = this.#random.below(100);
    if (choice < 40) return this.#random.below(24);
    if (choice < 70) return 96 + this.#random.below(16);
    if (choice < 85) return entries - 1 - this.#random.below(12);
    return this.#random.below(entries);
  }

  #record(): Buffer {
    const valid = this.#random.chance(0.15) ? 0 : 1 + this.#random.below(this.#random.chance(0.1) ? 40 : 4);
    const invalid = this.#random.chance(0.6) ? 0 : this.#random.below(this.#random.chance(0.1) ? 65_536 : 9);
    const index = this.#random.chance(0.02) ? this.#random.uint32() : this.#ptex();
    const bytes = Buffer.alloc(8 + valid * 16);
    bytes.writeUInt32LE(index, 0);
    bytes.writeUInt16LE(valid, 4);
    bytes.writeUInt16LE(invalid, 6);
    for (let entry = 0; entry < valid; entry++) {
      const [v, r] = this.#entry();
      bytes.writeBigUInt64BE(v, 8 + entry * 16);
      bytes.writeBigUInt64BE(r, 16 + entry * 16);
    }
    return bytes;
  }

  #entry(): readonly [v: bigint, r: bigint] {
    const kind = this.#random.below(200);
    if (kind === 0) return [this.#doubleword(), this.#doubleword()];
    if (kind < 6) return [V_VRMA | (this.#random.chance(0.5) ? 0x10n : 0n), 0x190n];
    const [large, code] = this.#pick(PAGE_SIZES);
    const pageSizeCode = kind < 9 ? BigInt(this.#random.below(256)) : code;
    let v = ((this.#doubleword() & 0xffffn) << 7n) | large | 1n;
    if (this.#random.chance(0.4)) v |= 0x10n;
    if (this.#random.chance(0.3)) v |= V_1T;
    if (this.#random.chance(0.2)) v |= 0x2n;
    if (this.#random.chance(0.1)) v |= 0x68n;
    if (this.#random.chance(0.05)) v |= this.#doubleword() & 0x3fff_ffff_ffff_ff80n;
    if (kind < 12) v &= ~1n;
    else if (kind < 15) v |= 1n << 63n;
    const r = (this.#doubleword() & 0xf_ff00_0fffn) | (pageSizeCode << 12n);
    return [v, this.#random.chance(0.05) ? r | (this.#doubleword() & 0xff00_0000_0000_0000n) : r];
  }

  #doubleword(): bigint {
    return (BigInt(this.#random.uint32()) << 32n) | BigInt(this.#random.uint32());
  }

  #garbage(length: number): Buffer {
    return Buffer.from(Array.from({ length }, () => this.#random.below(this.#random.chance(0.5) ? 4 : 256)));
  }
}

/**
 * Whether a write(2) of these bytes may take some that lie behind them: the kernel's check of a record's length forgets
 * the header (kernel-abi.md 4.2). Those bytes are not compared.
 */
function reachesBeyond(bytes: Buffer): boolean {
  let counted = 0;
  for (let at = 0; counted + 8 <= bytes.length && at + 8 <= bytes.length; at += 8) {
    const entryBytes = bytes.readUInt16LE(at + 4) * 16;
    if (counted + entryBytes > bytes.length) return false;
    if (at + 8 + entryBytes > bytes.length) return true;
    counted += 8 + entryBytes;
  }
  return false;
}
