import { constants } from 'node:os';
import { expect, test } from 'vitest';
import { BaseHandle } from '../../lib/vm/base-handle.js';
import { type CallResult, checkResult } from '../../lib/vm/call-result.js';

/** A backend that answers each write with the next of `answers`, after `during` has run. */
class Sink extends BaseHandle {
  readonly writes: number[] = [];
  readonly #answers: readonly CallResult[];
  readonly #during: () => void;

  constructor(answers: readonly CallResult[], during: () => void = () => undefined) {
    super('write');
    this.#answers = answers;
    this.#during = during;
  }

  protected readOnce(): number {
    return 0;
  }

  protected writeOnce(bytes: Uint8Array): number {
    const answer = this.#answers[this.writes.length] ?? bytes.length;
    this.writes.push(bytes.length);
    this.#during();
    return checkResult('write', answer);
  }

  protected closeOnce(): void {
    // It has nothing to close.
  }
}

/** Records of one entry each, at ptex 100, 101 and so on. */
function records(count: number): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(24 * count);
  const view = new DataView(bytes.buffer);
  for (let record = 0; record < count; record++) {
    view.setUint32(24 * record, 100 + record, true);
    view.setUint16(24 * record + 4, 1, true);
  }
  return bytes;
}

test('records are written one by one, and nothing of them if the last is cut', async () => {
  const sink = new Sink([]);
  expect(await sink.writeRecords(records(3))).toBe(72);
  expect(sink.writes).toEqual([24, 24, 24]);
  for (const [length, byteOffset, recordIndex] of [
    [71, 48, 2],
    [55, 48, 2],
    [7, 0, 0],
  ]) {
    await expect(sink.writeRecords(records(3).subarray(0, length))).rejects.toMatchObject({
      code: 'ERR_HTAB_FORMAT',
      byteOffset,
      recordIndex,
    });
  }
  expect(sink.writes).toHaveLength(3);
});

test.each([0, 8, 32])('a write that takes %i of 24 bytes is an error that says where', async (taken) => {
  const error: unknown = await new Sink([24, taken])
    .writeRecords(records(3))
    .catch((failure: unknown) => failure);
  expect(error).toMatchObject({ state: 'lost', ptex: 101, recordIndex: 1, bytesApplied: 24 });
  expect((error as Error).message).toBe(
    `write HPT record: write took ${taken} bytes, not the whole record (ptex 101, record 1, 24 bytes applied before it)`,
  );
});

test('a refusal names its record even if the memory was transferred away meanwhile', async () => {
  const bytes = records(2);
  const sink = new Sink([-constants.errno.EIO], () => {
    structuredClone(bytes, { transfer: [bytes.buffer] });
  });
  await expect(sink.writeRecords(bytes)).rejects.toMatchObject({
    errnoName: 'EIO',
    ptex: 100,
    recordIndex: 0,
    bytesApplied: 0,
  });
});

test('an errno without a name in Node rejects with its number', async () => {
  await expect(new Sink([-524]).write(records(1))).rejects.toMatchObject({
    code: 'ERR_HTAB_SYSTEM',
    errno: 524,
    errnoName: 'errno 524',
  });
});
