import { spawnSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { gzipSync } from 'node:zlib';
import { describe, expect, test } from 'vitest';
import { readQemuStream } from '../../../lib/qemu/stream/read-qemu-stream.js';
import { scratchFiles } from '../../scratch.js';
import { saveFile } from '../libvirt-writer.js';
import { htabOf, record, streamOf } from '../stream-writer.js';
import { chunked } from '../support.js';

const scratch = scratchFiles();
const stream = streamOf(htabOf(record(8, 2)));
const PROGRAMS = [
  [2, 'bzip2'],
  [3, 'xz'],
  [4, 'lzop'],
  [5, 'zstd'],
] as const;

const isThere = (program: string): boolean => spawnSync(program, ['--version']).error === undefined;

describe.each([false, true])('a save file of libvirt, big-endian: %s', (bigEndian) => {
  test.each([
    [0, 'raw', stream],
    [1, 'gzip', gzipSync(stream)],
  ] as const)('compressed by method %i is read as the stream in it', async (method, compression, bytes) => {
    const file = saveFile(bytes, { compression: method, bigEndian, cookie: '<cookie/>' });
    for (const chunkBytes of [1, 40, 1 << 20]) {
      const { libvirt, table, findings, streamBytes } = await readQemuStream(chunked(file, chunkBytes));
      expect(libvirt).toEqual({
        domain: 'guest',
        wasRunning: true,
        compression,
        headerBytes: file.length - bytes.length,
      });
      expect([table!.validCount, findings, streamBytes]).toEqual([2, [], stream.length]);
    }
  });
});

describe.each(PROGRAMS)('compression %i, %s', (compression, program) => {
  test('is read through its program', async ({ skip }) => {
    skip(!isThere(program), `${program} is not installed`);
    const bytes = spawnSync(program, ['-c'], { input: stream }).stdout;
    const path = scratch('guest.save');
    writeFileSync(path, saveFile(bytes, { compression }));
    const { libvirt, table, findings } = await readQemuStream(path);
    expect([libvirt!.compression, table!.validCount, findings]).toEqual([program, 2, []]);
  });

  test('is refused where it is damaged', async ({ skip }) => {
    skip(!isThere(program), `${program} is not installed`);
    const bytes = spawnSync(program, ['-c'], { input: stream }).stdout;
    const file = saveFile(bytes.subarray(0, bytes.length - 20), { compression });
    await expect(readQemuStream(chunked(file))).rejects.toMatchObject({ code: 'ERR_HTAB_FORMAT' });
    const noise = saveFile(Buffer.alloc(100_000, 5), { compression });
    await expect(readQemuStream(chunked(noise))).rejects.toMatchObject({
      code: 'ERR_HTAB_FORMAT',
      section: 'compressed stream',
    });
  });

  test('without its program says which to install', async ({ skip }) => {
    skip(isThere(program), `${program} is installed`);
    await expect(readQemuStream(chunked(saveFile(stream, { compression })))).rejects.toMatchObject({
      code: 'ERR_HTAB_UNAVAILABLE',
      reason: 'unsupported',
      hint: `install ${program}`,
    });
  });
});

test.each([
  ['unfinished', saveFile(stream, { magic: 'LibvirtQemudPart' }), /did not finish/],
  ['of another version', saveFile(stream, { version: 3 }), /version 3/],
  ['with a huge XML', saveFile(stream, { length: 2 ** 31 }), /2147483648 bytes/],
  ['cut in its header', saveFile(stream).subarray(0, 60), /ends inside its header/],
  ['cut in its XML', saveFile(stream).subarray(0, 100), /ends inside its XML/],
  ['with a cookie beyond its end', saveFile(stream, { cookieOffset: 5000 }), /cookie begins at 5000/],
  ['of an unknown compression', saveFile(stream, { compression: 9 }), /method 9/],
  ['with gzip that is none', saveFile(stream, { compression: 1 }), /gzip: incorrect header check/],
  [
    'with gzip that is cut',
    saveFile(gzipSync(stream).subarray(0, 90), { compression: 1 }),
    /gzip: unexpected end/,
  ],
])('a save file %s is refused', async (_, file, message) => {
  await expect(readQemuStream(chunked(file))).rejects.toMatchObject({
    code: 'ERR_HTAB_FORMAT',
    message: expect.stringMatching(message) as string,
  });
});

test('a save file in the sparse format is refused', async () => {
  await expect(readQemuStream(chunked(saveFile(stream, { compression: 6 })))).rejects.toMatchObject({
    code: 'ERR_HTAB_UNAVAILABLE',
    reason: 'unsupported',
  });
});

test('reading ends with the reason of its signal, also where nothing comes', async () => {
  const controller = new AbortController();
  const never: AsyncIterable<Uint8Array> = {
    [Symbol.asyncIterator]: () => ({ next: () => new Promise(() => undefined) }),
  };
  const reading = readQemuStream(never, { signal: controller.signal });
  const reason = new Error('enough');
  controller.abort(reason);
  await expect(reading).rejects.toBe(reason);
  await expect(readQemuStream(chunked(stream), { signal: controller.signal })).rejects.toBe(reason);
});
