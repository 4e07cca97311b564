/** An HPTE as two doublewords. */
export type Pair = readonly [v: bigint, r: bigint];

/** One record in wire form. */
export function record(index: number, pairs: readonly Pair[], invalidCount = 0): Buffer {
  const bytes = Buffer.alloc(8 + 16 * pairs.length);
  bytes.writeUInt32LE(index, 0);
  bytes.writeUInt16LE(pairs.length, 4);
  bytes.writeUInt16LE(invalidCount, 6);
  for (const [k, [v, r]] of pairs.entries()) {
    bytes.writeBigUInt64BE(v, 8 + 16 * k);
    bytes.writeBigUInt64BE(r, 16 + 16 * k);
  }
  return bytes;
}

/** The headers of a chunk: [index, validCount, invalidCount] each. */
export function headers(chunk: Uint8Array): [number, number, number][] {
  const view = new DataView(chunk.buffer, chunk.byteOffset, chunk.length);
  const found: [number, number, number][] = [];
  for (let at = 0; at < chunk.length; at += 8 + 16 * view.getUint16(at + 4, true)) {
    found.push([view.getUint32(at, true), view.getUint16(at + 4, true), view.getUint16(at + 6, true)]);
  }
  return found;
}

/** Applies a chunk's records to a plain Map. */
export function fold(chunk: Uint8Array, into: Map<number, Pair>): void {
  const view = new DataView(chunk.buffer, chunk.byteOffset, chunk.length);
  let at = 0;
  for (const [index, validCount, invalidCount] of headers(chunk)) {
    at += 8;
    for (let k = 0; k < validCount; k++, at += 16) {
      into.set(index + k, [view.getBigUint64(at), view.getBigUint64(at + 8)]);
    }
    for (let k = 0; k < invalidCount; k++) into.delete(index + validCount + k);
  }
}
