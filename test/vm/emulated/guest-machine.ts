import { EmulatedVm, type EmulatedVmOptions } from '../../../lib/vm/emulated/emulated-vm.js';
import type { HtabFile } from '../../../lib/vm/emulated/htab-file.js';

export const EXACT = 1n << 39n;
export const BOLTED = 0x10n;
export const H_SUCCESS = 0n;
export const H_PARAMETER = BigInt.asUintN(64, -4n);
export const H_PTEG_FULL = BigInt.asUintN(64, -6n);
export const [ENTER, REMOVE, READ, CLEAR_MOD, PROTECT] = [0x08, 0x04, 0x0c, 0x10, 0x18];

export async function machine(order = 18, options: EmulatedVmOptions = {}): Promise<EmulatedVm> {
  const vm = new EmulatedVm(options);
  await vm.allocateHpt(order);
  return vm;
}

/** A read descriptor past its first pass. */
export function reader(vm: EmulatedVm): HtabFile {
  const file = vm.openFile(0, 0) as HtabFile;
  file.read(new Uint8Array(1 << 20));
  return file;
}

/** One read: index, counts and the HPTEs' hexadecimal doublewords of each record. */
export function read(file: HtabFile): string[] {
  const buffer = Buffer.alloc(1 << 16);
  const bytes = file.read(buffer);
  const records: string[] = [];
  for (let at = 0; at < bytes;) {
    const valid = buffer.readUInt16LE(at + 4);
    const hptes = Array.from({ length: valid * 2 }, (_, word) =>
      buffer.readBigUInt64BE(at + 8 + word * 8).toString(16),
    );
    records.push(
      `${buffer.readUInt32LE(at)}+${valid}-${buffer.readUInt16LE(at + 6)} ${hptes.join(' ')}`.trim(),
    );
    at += 8 + valid * 16;
  }
  return records;
}

export function record(index: number, valid: readonly (readonly [bigint, bigint])[], invalid = 0): Buffer {
  const bytes = Buffer.alloc(8 + valid.length * 16);
  bytes.writeUInt32LE(index, 0);
  bytes.writeUInt16LE(valid.length, 4);
  bytes.writeUInt16LE(invalid, 6);
  for (const [entry, [v, r]] of valid.entries()) {
    bytes.writeBigUInt64BE(v, 8 + entry * 16);
    bytes.writeBigUInt64BE(r, 16 + entry * 16);
  }
  return bytes;
}
