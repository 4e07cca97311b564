// HptReader over a kernel that is simulated: a scan of the baseline's table, on a thread of the pool.
import { addon } from './baseline.mjs';
import { atLeast, atMost } from './cases.mjs';
import { BaseHandle, HptReader, RecordCursor } from './library.mjs';
import { contest, wallTime } from './measure.mjs';
import { full, grouped } from './patterns.mjs';
import { addRecords } from './records.mjs';
import { Twin } from './tables.mjs';

const ORDER = 26;

/** A read descriptor of the baseline's table, at which every pass is a first one. */
class SimulatedHandle extends BaseHandle {
  reads = 0;
  /** All memory that has been read into. @type {Set<ArrayBufferLike>} */
  memories = new Set();
  #flat;
  #state = new Float64Array(2);

  /** @param {import('./baseline.mjs').FlatTable} flat */
  constructor(flat) {
    super('read');
    this.#flat = flat;
  }

  /** @override @param {Uint8Array} buffer */
  readOnce(buffer) {
    this.reads++;
    this.memories.add(buffer.buffer);
    this.#state[1] = 1;
    return this.#flat.readOnPool(this.#state, buffer);
  }

  /** @override @returns {number} */
  writeOnce() {
    throw new Error('a read descriptor');
  }

  /** @override */
  closeOnce() {
    // It has nothing to close.
  }
}

async function readAndDecode() {
  const { flat, entryCount } = new Twin(ORDER, grouped(0.125));
  const reader = new HptReader(new SimulatedHandle(flat), { order: ORDER });
  const ours = new Float64Array(4);
  const theirs = new Float64Array(4);
  const run = async () => {
    const cursor = new RecordCursor({ order: ORDER, ascending: true });
    ours.fill(0);
    for await (const chunk of reader.pass()) {
      cursor.push(chunk);
      addRecords(cursor, ours);
    }
    cursor.finish();
  };
  const buffer = new Uint8Array(1 << 20);
  const state = new Float64Array(2);
  const oneThread = () => {
    theirs.fill(0);
    state[1] = 1;
    do {
      const bytes = flat.read(state, buffer);
      if (!addon.decode(buffer.subarray(0, bytes), entryCount, theirs))
        throw new Error('a record is refused');
    } while (state[0] !== 0);
  };
  try {
    await run();
    oneThread();
    if (ours.join() !== theirs.join()) throw new Error(`decoded ${ours.join()} and ${theirs.join()}`);
    return await contest({ run }, { run: oneThread }, wallTime);
  } finally {
    await reader.close();
  }
}

/** In the second pass, when nothing is new to the reader any more. */
async function buffersPerThousandReads() {
  const handle = new SimulatedHandle(new Twin(24, full).flat);
  const reader = new HptReader(handle, { order: 24, bufferBytes: 16_000 });
  const drain = async () => {
    for await (const chunk of reader.pass()) if (chunk.length === 0) throw new Error('an empty chunk');
  };
  await drain();
  const { reads, memories } = handle;
  const known = memories.size;
  await drain();
  await reader.close();
  const buffers = ((memories.size - known) * 1000) / (handle.reads - reads);
  return { ours: buffers, ratio: buffers };
}

/** @type {import('./cases.mjs').Case[]} */
export const reader = [
  { name: 'read ahead and decode, 12.5 %', ...atLeast(1.1), waits: true, run: readAndDecode },
  { name: 'HptReader, buffers', ...atMost(3, 'buffers in 1,000 reads'), run: buffersPerThousandReads },
];
