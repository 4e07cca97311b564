// Records through file descriptors: what the library adds to read(2) and write(2).
import {
  closeSync,
  constants,
  createReadStream as createFileStream,
  ftruncateSync,
  mkdtempSync,
} from 'node:fs';
import { openSync, rmSync, statfsSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { addon } from './baseline.mjs';
import { atLeast } from './cases.mjs';
import { KvmHandle, createReadStream, loadAddon } from './library.mjs';
import { contest, processTime, wallTime } from './measure.mjs';

const BUFFER_BYTES = 1 << 20;
const READS = 48;
const ORDER = 26;
const RECORDS = 10_000;
const TMPFS_MAGIC = 0x01021994;

/** An empty file in memory, which is gone once it is closed; `path` opens it anew. */
function memoryFile() {
  const root = ['/dev/shm', tmpdir()].find((folder) => {
    try {
      return statfsSync(folder).type === TMPFS_MAGIC;
    } catch {
      return false;
    }
  });
  if (root === undefined) throw new Error('the bench needs a tmpfs, at /dev/shm or for temporary files');
  const folder = mkdtempSync(path.join(root, 'kvm-htab-bench-'));
  const fd = openSync(path.join(folder, 'records'), constants.O_RDWR | constants.O_CREAT);
  rmSync(folder, { recursive: true });
  return { fd, path: `/proc/self/fd/${fd}`, close: () => closeSync(fd) };
}

/** Whole records that fill a buffer to its last byte, for read after read. @returns {Generator<Uint8Array>} */
function* fullReads() {
  const runs = [...Array.from({ length: 16 }, () => 4095), 7, 0];
  for (let read = 0, index = 0; read < READS; read++) {
    const bytes = new DataView(new ArrayBuffer(BUFFER_BYTES));
    let at = 0;
    for (const validCount of runs) {
      const invalidCount = validCount === 0 ? 1 : 0;
      bytes.setUint32(at, index, true);
      bytes.setUint16(at + 4, validCount, true);
      bytes.setUint16(at + 6, invalidCount, true);
      at += 8 + validCount * 16;
      index += validCount + invalidCount;
    }
    yield new Uint8Array(bytes.buffer);
  }
}

/**
 * A handle of the library's on a plain file, which stands in for an HTAB descriptor.
 *
 * @param {string} file
 * @param {'read' | 'write'} access
 */
async function openHandle(file, access) {
  const native = loadAddon();
  const flags = access === 'read' ? constants.O_RDONLY : constants.O_WRONLY | constants.O_APPEND;
  return new KvmHandle(native, await native.adopt(openSync(file, flags), false), access);
}

/** @param {import('node:stream').Readable} stream */
async function drain(stream) {
  let bytes = 0;
  stream.on('data', (/** @type {Uint8Array} */ chunk) => {
    bytes += chunk.length;
  });
  await new Promise((resolve, reject) => stream.on('close', resolve).on('error', reject));
  if (bytes !== READS * BUFFER_BYTES) throw new Error(`a stream gave ${bytes} bytes`);
}

/** @param {(file: string) => unknown} rival */
async function readable(rival) {
  const file = memoryFile();
  try {
    for (const bytes of fullReads()) writeSync(file.fd, bytes);
    const ours = async () =>
      drain(createReadStream(await openHandle(file.path, 'read'), { order: ORDER, recycle: true }));
    return await contest({ run: ours }, { run: () => rival(file.path) }, processTime);
  } finally {
    file.close();
  }
}

/** @param {string} file */
function readLoop(file) {
  const fd = openSync(file, 'r');
  const bytes = addon.readAll(fd);
  closeSync(fd);
  if (bytes !== READS * BUFFER_BYTES) throw new Error(`the read loop gave ${bytes} bytes`);
}

async function writeRecords() {
  const file = memoryFile();
  const handle = await openHandle(file.path, 'write');
  const fd = openSync(file.path, constants.O_WRONLY | constants.O_APPEND);
  try {
    const records = new Uint8Array(RECORDS * 24);
    const view = new DataView(records.buffer);
    for (let record = 0; record < RECORDS; record++) {
      view.setUint32(record * 24, record * 8, true);
      view.setUint16(record * 24 + 4, 1, true);
    }
    const prepare = () => ftruncateSync(file.fd);
    const writeLoop = () => {
      if (!addon.writeEach(fd, records)) throw new Error('a record is not taken');
    };
    return await contest(
      { prepare, run: () => handle.writeRecords(records) },
      { prepare, run: writeLoop },
      wallTime,
    );
  } finally {
    await handle.close();
    closeSync(fd);
    file.close();
  }
}

/** @type {import('./cases.mjs').Case[]} */
export const descriptors = [
  {
    name: 'createReadStream, recycling 1 MiB, and a read loop',
    ...atLeast(0.8),
    run: () => readable(readLoop),
  },
  {
    name: 'createReadStream, recycling 1 MiB, and that of fs',
    ...atLeast(1.3),
    run: () => readable((file) => drain(createFileStream(file, { highWaterMark: BUFFER_BYTES }))),
  },
  { name: 'writeRecords, 10,000 of one entry', ...atLeast(0.8), waits: true, run: writeRecords },
];
