import { HEADER_BYTES } from '../../records/header.js';
import { HPTE_BYTES } from '../../hpt/geometry.js';

/** An HPTE as two doublewords. */
export type Entry = readonly [v: bigint, r: bigint];

/** One record: `entries` stand at `index` and after, `invalid` entries follow them (kernel-abi.md 2.1). */
export interface StreamRecord {
  readonly index: number;
  readonly entries: readonly Entry[];
  readonly invalid: number;
}

/** 4K page, all of it unremarkable. */
export const PLAIN: Entry = [0x1n, 0x190n];
/** The same, bolted: it survives a resize and shows on a BOLTED_ONLY descriptor. */
export const BOLTED: Entry = [0x11n, 0x190n];
/** Maps the real-mode area, which makes the MMU ready (kernel-abi.md 4.5); not bolted, so that a resize drops it. */
export const VRMA: Entry = [0x4001_ffff_ff00_0001n, 0x190n];

/** A record of the entries given. */
export function record(index: number, entries: readonly Entry[], invalid = 0): StreamRecord {
  return { index, entries, invalid };
}

/** A record of `count` equal entries. */
export function run(index: number, count: number, invalid = 0, entry: Entry = PLAIN): StreamRecord {
  return { index, entries: new Array<Entry>(count).fill(entry), invalid };
}

/** A record that makes `count` entries invalid. */
export function removal(index: number, count = 1): StreamRecord {
  return { index, entries: [], invalid: count };
}

/** The records' bytes, with the little-endian headers of every supported host. Not the encoder under test. */
export function encode(...records: readonly StreamRecord[]): Uint8Array {
  const bytes = new Uint8Array(
    records.reduce((sum, { entries }) => sum + HEADER_BYTES + entries.length * HPTE_BYTES, 0),
  );
  const view = new DataView(bytes.buffer);
  let offset = 0;
  for (const { index, entries, invalid } of records) {
    view.setUint32(offset, index, true);
    view.setUint16(offset + 4, entries.length, true);
    view.setUint16(offset + 6, invalid, true);
    offset += HEADER_BYTES;
    for (const [v, r] of entries) {
      view.setBigUint64(offset, v);
      view.setBigUint64(offset + 8, r);
      offset += HPTE_BYTES;
    }
  }
  return bytes;
}

/**
 * The same bytes as lines a failed comparison can be read from, one a record: `{5,1,65530} 51:190`. Nothing is lost:
 * different bytes give different lines.
 */
export function render(bytes: Uint8Array): string[] {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const lines: string[] = [];
  let offset = 0;
  while (offset + HEADER_BYTES <= bytes.length) {
    const count = view.getUint16(offset + 4, true);
    const start = offset + HEADER_BYTES;
    const end = start + count * HPTE_BYTES;
    if (end > bytes.length) break;
    const header = `{${view.getUint32(offset, true)},${count},${view.getUint16(offset + 6, true)}}`;
    lines.push([header, ...renderEntries(view, start, end)].join(' '));
    offset = end;
  }
  if (offset < bytes.length) lines.push(`stray bytes ${Buffer.from(bytes.subarray(offset)).toString('hex')}`);
  return lines;
}

function renderEntries(view: DataView, start: number, end: number): string[] {
  const entries: { text: string; count: number }[] = [];
  for (let offset = start; offset < end; offset += HPTE_BYTES) {
    const text = `${view.getBigUint64(offset).toString(16)}:${view.getBigUint64(offset + 8).toString(16)}`;
    const last = entries.at(-1);
    if (last?.text === text) last.count++;
    else entries.push({ text, count: 1 });
  }
  return entries.map(({ text, count }) => (count === 1 ? text : `${text} x${count}`));
}
