// A whole migration between two descriptors, against its bytes alone through the same kind of socket.
import { mkdtempSync, rmSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import { once } from 'node:events';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { atLeast } from './cases.mjs';
import { BaseHandle, receiveHpt, sendHpt } from './library.mjs';
import { contest, processTime } from './measure.mjs';
import { grouped } from './patterns.mjs';
import { readTable, tableOf } from './tables.mjs';

const ORDER = 26;
const BUFFER_BYTES = 1 << 20;

/** Gives a stream read by read, then nothing: a kernel whose work costs a copy. */
class Source extends BaseHandle {
  #reads;

  /** @param {readonly Uint8Array[]} reads */
  constructor(reads) {
    super('read');
    this.#reads = reads.values();
  }

  /** @override @param {Uint8Array} buffer */
  readOnce(buffer) {
    const { value } = this.#reads.next();
    if (value === undefined) return 0;
    buffer.set(value);
    return value.length;
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

/** Takes every record: a kernel whose work costs nothing. */
class Target extends BaseHandle {
  constructor() {
    super('write');
  }

  /** @override @returns {number} */
  readOnce() {
    throw new Error('a write descriptor');
  }

  /** @override @param {Uint8Array} bytes */
  writeOnce(bytes) {
    return bytes.length;
  }

  /** @override @param {Uint8Array} bytes */
  writeEach(bytes) {
    return Promise.resolve(bytes.length);
  }

  /** @override */
  closeOnce() {
    // It has nothing to close.
  }
}

/**
 * A Unix socket's two ends; the first takes what it receives into one buffer, if `onread` is there to see it.
 *
 * @param {import('node:net').Server} server
 * @param {string} socketPath
 * @param {import('node:net').OnReadOpts} [onread]
 */
async function openPair(server, socketPath, onread) {
  const receiving = connect({ path: socketPath, ...(onread === undefined ? {} : { onread }) });
  const accepted = /** @type {Promise<[import('node:net').Socket]>} */ (once(server, 'connection'));
  const [sending] = await accepted;
  return { sending, receiving };
}

async function wholeMigration() {
  const table = tableOf(ORDER, grouped(0.125));
  /** @type {Buffer[]} */
  const reads = [];
  readTable(table, true, (bytes) => reads.push(Buffer.from(bytes)));
  const total = reads.reduce((sum, { length }) => sum + length, 0);

  const folder = mkdtempSync(path.join(tmpdir(), 'kvm-htab-bench-'));
  const socketPath = path.join(folder, 'socket');
  const server = createServer({ pauseOnConnect: false }).listen(socketPath);
  await once(server, 'listening');

  const migrate = async () => {
    const { sending, receiving } = await openPair(server, socketPath);
    const stand = () => Promise.resolve();
    const [report] = await Promise.all([
      sendHpt({ handle: new Source(reads), order: ORDER }, sending, {
        pause: stand,
        resume: stand,
        host: 'power9',
      }),
      receiveHpt({ handle: new Target(), order: ORDER }, receiving, { host: 'power9' }),
    ]);
    if (report.validEntries !== table.validCount)
      throw new Error(`${report.validEntries} entries were moved`);
  };
  const buffer = Buffer.alloc(BUFFER_BYTES);
  const relay = async () => {
    let received = 0;
    const callback = (/** @type {number} */ bytes) => {
      received += bytes;
      return true;
    };
    const { sending, receiving } = await openPair(server, socketPath, { buffer, callback });
    for (const bytes of reads) sending.write(bytes);
    sending.end();
    await once(receiving, 'close');
    if (received !== total) throw new Error(`${received} bytes of ${total} were received`);
  };
  try {
    return await contest({ run: migrate }, { run: relay }, processTime);
  } finally {
    server.close();
    rmSync(folder, { recursive: true });
  }
}

/** @type {import('./cases.mjs').Case[]} */
export const migration = [
  { name: 'send and receive, Unix socket, 12.5 %', ...atLeast(0.7), waits: true, run: wholeMigration },
];
