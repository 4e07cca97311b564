import { readdirSync } from 'node:fs';
import path from 'node:path';
import type { HptTable } from '../../lib/hpt/table.js';
import { fillRecords, type PassState } from '../../lib/records/fill-records.js';
import { SnapshotDecoder, type Snapshot } from '../../lib/snapshot/decoder.js';
import { FRAME_HEADER_BYTES } from '../../lib/frames/frame.js';
import { SnapshotWriter } from '../../lib/snapshot/writer.js';
import { GuestWorkload } from '../../lib/vm/emulated/guest-workload.js';
import { EmulatedVm, type EmulatedVmOptions } from '../../lib/vm/emulated/emulated-vm.js';

export const ORDER = 18;

/** A VM with a table that a guest has worked on. */
export async function busyVm(
  steps = 4000,
  { seed = 1, order = ORDER, ...options }: EmulatedVmOptions & { seed?: number; order?: number } = {},
): Promise<{ vm: EmulatedVm; workload: GuestWorkload }> {
  const vm = new EmulatedVm({ host: 'power8', ...options });
  await vm.allocateHpt(order);
  const workload = new GuestWorkload(vm, { seed, pages: 8000, mix: { evict: 4 } });
  workload.step(steps);
  return { vm, workload };
}

export const newVm = (): EmulatedVm => new EmulatedVm({ host: 'power8' });

/** Valid entries of a table, ascending. */
export function validEntries(table: HptTable): number[] {
  const found = [];
  for (let ptex = table.valid.next(0); ptex < table.entryCount; ptex = table.valid.next(ptex + 1))
    found.push(ptex);
  return found;
}

/** The bytes of a snapshot of this table: one pass, in frames of `bufferBytes`, and one that finds nothing. */
export async function snapshotBytes(table: HptTable, bufferBytes = 1 << 20): Promise<Buffer> {
  const parts: Buffer[] = [];
  const sink = {
    write: (bytes: Uint8Array): Promise<void> => {
      parts.push(Buffer.from(bytes));
      return Promise.resolve();
    },
  };
  const { order } = table;
  const writer = new SnapshotWriter(sink, { order, headerByteOrder: 'LE', backend: 'emulated', host: null });
  await writer.begin();
  const state: PassState = { cursor: 0, firstPass: true, boltedOnly: false };
  const buffer = new Uint8Array(bufferBytes);
  while (state.firstPass) await writer.add(buffer.subarray(0, fillRecords(table, state, buffer)));
  await writer.endPass();
  await writer.endPass();
  await writer.end(true);
  return Buffer.concat(parts);
}

/** Decodes a snapshot as `readSnapshot` does, from memory. */
export function decodeSnapshot(bytes: Buffer): Snapshot {
  const decoder = new SnapshotDecoder('guest.hpt');
  for (let at = 0; at < bytes.length;) {
    const header = bytes.subarray(at, at + FRAME_HEADER_BYTES);
    if (header.length < FRAME_HEADER_BYTES) throw decoder.cutShort(header.length);
    const length = decoder.openFrame(header);
    const payload = bytes.subarray(at + FRAME_HEADER_BYTES, at + FRAME_HEADER_BYTES + length);
    if (payload.length < length) throw decoder.cutShort(FRAME_HEADER_BYTES + payload.length);
    decoder.closeFrame(payload);
    at += FRAME_HEADER_BYTES + length;
  }
  return decoder.finish();
}

/** Where the frames of an undamaged snapshot begin; the last number is its length. */
export function frameOffsets(bytes: Buffer): number[] {
  const offsets = [0];
  for (let at = 0; at < bytes.length; offsets.push(at)) at += FRAME_HEADER_BYTES + bytes.readUInt32BE(at + 4);
  return offsets;
}

/** Nothing but the file `table`, or nothing at all, is in its folder. */
export const neighbours = (file: string): string[] => readdirSync(path.dirname(file));
