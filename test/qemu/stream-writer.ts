import type { HptTable } from '../../lib/hpt/table.js';

const u8 = (value: number): Buffer => Buffer.of(value);
const u16 = (value: number): Buffer => Buffer.of((value >>> 8) & 0xff, value & 0xff);

export function u32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value >>> 0);
  return bytes;
}

export function u64(value: number): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64BE(BigInt(value));
  return bytes;
}

export const name = (text: string): Buffer => Buffer.concat([u8(text.length), Buffer.from(text, 'latin1')]);

/** A valid entry of a 4 KiB page. */
export function hpte(low = 0x8): Buffer {
  return Buffer.concat([u32(0x1), u32((low << 7) | 1), u32(0), u32(0x1190)]);
}

/** A record: `valid` is the number of entries, or their bytes. */
export function record(index: number, valid: number | Buffer, invalid = 0): Buffer {
  const hptes =
    typeof valid === 'number' ? Buffer.concat(Array.from({ length: valid }, (_, k) => hpte(k))) : valid;
  return Buffer.concat([u32(index), u16(hptes.length / 16), u16(invalid), hptes]);
}

export const END_MARKER = Buffer.alloc(8);

/** Records as the payload of a part. */
export const records = (...all: Buffer[]): Buffer => Buffer.concat([u32(0), ...all, END_MARKER]);

/** The valid entries of a table, one a record. */
export function recordsOf(table: HptTable): Buffer[] {
  return [...table].map(([ptex, { v, r }]) => {
    const bytes = Buffer.alloc(16);
    bytes.writeBigUInt64BE(v);
    bytes.writeBigUInt64BE(r, 8);
    return record(ptex, bytes);
  });
}

export const footer = (id: number): Buffer => Buffer.concat([u8(0x7e), u32(id)]);

function begin(mark: number, id: number, section: string, instance: number, version: number): Buffer {
  return Buffer.concat([u8(mark), u32(id), name(section), u32(instance), u32(version)]);
}

export const startPart = (id: number, section: string, payload: Buffer, version = 1): Buffer =>
  Buffer.concat([begin(1, id, section, 0, version), payload, footer(id)]);
export const nextPart = (id: number, payload: Buffer): Buffer =>
  Buffer.concat([u8(2), u32(id), payload, footer(id)]);
export const endPart = (id: number, payload: Buffer): Buffer =>
  Buffer.concat([u8(3), u32(id), payload, footer(id)]);
export const device = (id: number, section: string, payload: Buffer): Buffer =>
  Buffer.concat([begin(4, id, section, 0, 1), payload, footer(id)]);

export const command = (number: number, data: Buffer = Buffer.alloc(0)): Buffer =>
  Buffer.concat([u8(8), u16(number), u16(data.length), data]);

export const header = Buffer.concat([Buffer.from('QEVM'), u32(3)]);

export function configuration(machine: string, ...subsections: Buffer[]): Buffer {
  return Buffer.concat([u8(7), u32(machine.length), Buffer.from(machine), ...subsections]);
}

export function subsection(section: string, fields: Buffer, version = 1): Buffer {
  return Buffer.concat([u8(5), name(section), u32(version), fields]);
}

export const capabilities = (...names: string[]): Buffer =>
  subsection('configuration/capabilities', Buffer.concat([u32(names.length), ...names.map(name)]));

/** The end of a stream, and the description of its devices. */
export function description(devices: readonly object[]): Buffer {
  const json = Buffer.from(JSON.stringify({ page_size: 4096, devices }));
  return Buffer.concat([u8(0), u8(6), u32(json.length), json]);
}

export const RAM_END = u64(0x10);
/** A page of the block `ram`, as a part of the memory brings it. */
export const PAGE = Buffer.concat([u64(0x8), name('ram'), Buffer.alloc(4096)]);
export const RAM = 1;
export const HTAB = 2;
const TIMER = 3;
const TIMER_BYTES = 24;

/** The payload that announces one block of memory. */
export function ramBlock(bytes: number, ...extra: Buffer[]): Buffer {
  return Buffer.concat([u64(bytes + 4), name('ppc_spapr.ram'), u64(bytes), ...extra, RAM_END]);
}

/** A whole stream of a small guest, of parts that a test may replace. */
export function streamOf(
  htab: readonly Buffer[],
  {
    config = configuration('pseries-10.0'),
    ram = [startPart(RAM, 'ram', ramBlock(65_536), 4), endPart(RAM, RAM_END)],
    tail = description([
      { name: 'timer', instance_id: 0, fields: [{ name: 'unused', size: 8, array_len: 3, type: 'buffer' }] },
    ]),
  }: { readonly config?: Buffer; readonly ram?: readonly Buffer[]; readonly tail?: Buffer } = {},
): Buffer {
  const timer = device(TIMER, 'timer', Buffer.alloc(TIMER_BYTES));
  return Buffer.concat([header, config, ...ram, ...htab, timer, tail]);
}

/** The parts of a table of order 18. */
export const htabOf = (...payload: Buffer[]): Buffer[] => [
  startPart(HTAB, 'spapr/htab', u32(18)),
  endPart(HTAB, records(...payload)),
];
