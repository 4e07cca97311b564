// One side of a long migration in a process of its own; tells at the end how much memory it took, as JSON.
// Arguments: source or destination, and the path of a Unix socket.
import { on, once } from 'node:events';
import { readFileSync } from 'node:fs';
import { connect, createServer } from 'node:net';

/** @type {unknown} What is published; it need not be there for a type checker. */
const published = await import(new URL('../../dist/bundle/index.js', import.meta.url).href);
const { EmulatedVm, receiveHpt, sendHpt } = /** @type {typeof import('../../lib/index.js')} */ (published);

const [side, socketPath] = process.argv.slice(2);
const ORDER = 24;
const ENTRIES = 400_000;
const CHANGED = 100_000;
const BROKEN_CONNECTIONS = 24;
const PASSES = 100;
let movedBytes = 0;
let passes = 0;
let last = 0;

/** @param {{ readonly bytes: number, readonly pass: number }} progress bytes of this pass, or of this connection */
function count({ bytes, pass }) {
  movedBytes += bytes < last ? bytes : bytes - last;
  last = bytes;
  passes = pass;
}

/** What this process takes before the migration begins. */
function baseline() {
  globalThis.gc?.();
  return process.memoryUsage.rss();
}

/**
 * @param {number} baselineBytes
 * @param {{ readonly validEntries: number, readonly attempts: number }} report
 */
function tell(baselineBytes, { validEntries, attempts }) {
  // Not resourceUsage().maxRSS: a process begins with that of the one which started it.
  const [, peakKilobytes] = /^VmHWM:\s+(\d+) kB$/m.exec(readFileSync('/proc/self/status', 'utf8')) ?? [];
  const peakBytes = Number(peakKilobytes) * 1024;
  const taken = { baselineBytes, peakBytes, movedBytes, passes, validEntries, attempts };
  process.stdout.write(JSON.stringify(taken));
}

/**
 * Records of a run of valid entries.
 *
 * @param {number} from
 * @param {number} entryCount
 * @param {number} generation makes them differ from those before
 */
function entries(from, entryCount, generation) {
  const parts = [];
  for (let first = from; first < from + entryCount; first += 32_768) {
    const validCount = Math.min(32_768, from + entryCount - first);
    const record = Buffer.alloc(8 + validCount * 16);
    record.writeUInt32LE(first, 0);
    record.writeUInt16LE(validCount, 4);
    for (let at = 8; at < record.length; at += 16) {
      record.writeUInt32BE(0x11, at + 4);
      record.writeUInt32BE(0x190 + ((generation % 1000) << 12), at + 12);
    }
    parts.push(record);
  }
  return Buffer.concat(parts);
}

async function source() {
  const vm = new EmulatedVm({ host: 'power9' });
  await vm.allocateHpt(ORDER);
  const handle = await vm.openHtab({ access: 'write' });
  await handle.writeRecords(entries(0, ENTRIES, 0));
  const before = baseline();
  let changing = Promise.resolve(0);
  let connections = 0;
  const dial = async () => {
    const socket = connect(String(socketPath));
    await once(socket, 'connect');
    if (++connections > BROKEN_CONNECTIONS) return socket;
    // After a part of the table, or all of it and some passes.
    const limit = (1 + (connections % 4)) * 4_000_000;
    const timer = setInterval(() => {
      if (socket.bytesWritten > limit) socket.destroy();
    }, 1);
    socket.on('close', () => {
      clearInterval(timer);
    });
    return socket;
  };
  const report = await sendHpt(vm, dial, {
    pause: async () => {
      await changing;
    },
    resume: async () => {},
    downtimeMs: 0,
    maxPasses: PASSES,
    maxReconnects: 1000,
    onProgress: (progress) => {
      count(progress);
      if (!progress.live || !progress.complete) return;
      changing = handle.writeRecords(entries((passes % 4) * CHANGED, CHANGED, passes));
    },
  });
  tell(before, report);
}

/**
 * The target's table is the kernel's and takes nothing of this process.
 *
 * @type {import('../../lib/index.js').HtabHandle}
 */
const kernel = {
  access: 'write',
  read: () => Promise.reject(new Error('not open for reading')),
  write: (bytes) => Promise.resolve(bytes.length),
  writeRecords: (bytes) => Promise.resolve(bytes.length),
  close: () => Promise.resolve(),
  [Symbol.asyncDispose]: () => Promise.resolve(),
};

async function destination() {
  const server = createServer().listen(socketPath);
  const connections = on(server, 'connection');
  const before = baseline();
  const report = await receiveHpt(
    { handle: kernel, order: ORDER, backend: 'emulated' },
    (async function* () {
      for await (const [socket] of connections) yield socket;
    })(),
    { onProgress: count },
  );
  tell(before, report);
  server.close();
}

await (side === 'source' ? source() : destination());
