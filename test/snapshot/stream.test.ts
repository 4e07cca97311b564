import { PassThrough, Readable, Writable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import { expect, test } from 'vitest';
import { digestTable } from '../../lib/hpt/digest.js';
import { readSnapshot } from '../../lib/snapshot/read.js';
import { saveSnapshot } from '../../lib/snapshot/save.js';
import { busyVm } from './support.js';

test.each([1, 7, 1000, 1 << 20])(
  'a snapshot goes through a stream in pieces of %i bytes',
  async (pieceBytes) => {
    const { vm } = await busyVm(500);
    const stream = new PassThrough();
    const [report, bytes] = await Promise.all([
      saveSnapshot(vm, stream).then((saved) => {
        // It is the caller's, and stays open.
        expect(stream.writableEnded).toBe(false);
        stream.end();
        return saved;
      }),
      buffer(stream),
    ]);
    expect(bytes.length).toBe(report.fileBytes);
    const pieces = Array.from({ length: Math.ceil(bytes.length / pieceBytes) }, (_, k) =>
      bytes.subarray(k * pieceBytes, (k + 1) * pieceBytes),
    );
    const { info, table } = await readSnapshot(Readable.from(pieces));
    expect(info).toMatchObject({ digest: report.digest, fileBytes: bytes.length });
    expect(digestTable(table)).toBe(digestTable(vm.table!));
  },
);

test.each([0, 1, 100, -1])('readSnapshot refuses a stream that ends at byte %i', async (end) => {
  const { vm } = await busyVm(500);
  const stream = new PassThrough({ highWaterMark: 1 << 20 });
  await saveSnapshot(vm, stream);
  expect(stream.listenerCount('error')).toBe(0);
  const bytes = (stream.read() as Buffer).subarray(0, end);
  await expect(readSnapshot(Readable.from([bytes]))).rejects.toMatchObject({ code: 'ERR_HTAB_FORMAT' });
});

test('saveSnapshot rejects when the reader of its stream goes away, and names the write', async () => {
  const { vm } = await busyVm(500);
  let writes = 0;
  const stream = new Writable({
    write: (_chunk, _encoding, callback) => {
      const gone = Object.assign(new Error('write EPIPE'), { code: 'EPIPE', syscall: 'write' });
      callback(++writes < 3 ? undefined : gone);
    },
  });
  await expect(saveSnapshot(vm, stream)).rejects.toMatchObject({
    code: 'ERR_HTAB_SYSTEM',
    ...{ errnoName: 'EPIPE', syscall: 'write', operation: 'write the snapshot to its stream' },
  });
  expect(writes).toBe(3);
  // The same again: a stream that has failed before calls nothing back.
  await expect(saveSnapshot(vm, stream)).rejects.toMatchObject({ errnoName: 'EPIPE' });
});

test('an abort ends the wait for the stream of saveSnapshot and of readSnapshot', async () => {
  const { vm } = await busyVm(500);
  const reason = new Error('enough');
  const held = new AbortController();
  const stuck = new Writable({
    write: () => {
      held.abort(reason);
    },
  });
  await expect(saveSnapshot(vm, stuck, { signal: held.signal })).rejects.toBe(reason);
  const silent = new AbortController();
  const reading = readSnapshot(new PassThrough(), { signal: silent.signal });
  silent.abort(reason);
  await expect(reading).rejects.toBe(reason);
});

test('saveSnapshot and readSnapshot refuse a value that is neither a path nor a stream', async () => {
  const { vm } = await busyVm(0);
  await expect(saveSnapshot(vm, 7 as unknown as string)).rejects.toThrow(TypeError);
  await expect(readSnapshot(7 as unknown as string)).rejects.toThrow(TypeError);
});
