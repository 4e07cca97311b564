// A migration that goes through a relay, against the same stream through a pipe of Node.
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { pipeline } from 'node:stream/promises';
import { atLeast } from './cases.mjs';
import { relayMigration } from './library.mjs';
import { contest, wallTime } from './measure.mjs';

const PAGES = 32_768;
const PAGE_BYTES = 4096;
const CHUNK_PAGES = 256;

/** @param {number} value */
function u32(value) {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
}

/** @param {number} low */
const u64 = (low) => Buffer.concat([u32(0), u32(low)]);
/** @param {string} text */
const named = (text) => Buffer.concat([Buffer.of(text.length), Buffer.from(text)]);
/** @param {number} id @param {string} name @param {number} version @param {Buffer} payload */
const start = (id, name, version, payload) =>
  Buffer.concat([Buffer.of(1), u32(id), named(name), u32(0), u32(version), payload, footer(id)]);
/** @param {number} mark @param {number} id @param {Buffer} payload */
const part = (mark, id, payload) => Buffer.concat([Buffer.of(mark), u32(id), payload, footer(id)]);
/** @param {number} id */
const footer = (id) => Buffer.concat([Buffer.of(0x7e), u32(id)]);

/** The stream of a guest of 128 MiB, as chunks: nearly all of it is memory, as of any guest. */
function streamOfMemory() {
  const end = u64(0x10);
  const total = PAGES * PAGE_BYTES;
  const page = Buffer.concat([u64(0x28), Buffer.alloc(PAGE_BYTES, 0x55)]);
  const many = Buffer.concat(Array.from({ length: CHUNK_PAGES }, () => page));
  const first = Buffer.concat([u64(0x8), named('ppc_spapr.ram'), Buffer.alloc(PAGE_BYTES)]);
  const entry = Buffer.concat([u32(1), u32(1), u32(0), u32(0x1190)]);
  return [
    Buffer.concat([Buffer.from('QEVM'), u32(3), Buffer.of(7), u32(7), Buffer.from('pseries')]),
    start(1, 'ram', 4, Buffer.concat([u64(total + 4), named('ppc_spapr.ram'), u64(total), end])),
    start(2, 'spapr/htab', 1, u32(18)),
    Buffer.concat([Buffer.of(2), u32(1), first]),
    ...Array.from({ length: PAGES / CHUNK_PAGES }, () => many),
    Buffer.concat([end, footer(1)]),
    part(3, 1, end),
    part(3, 2, Buffer.concat([u32(0), u32(0), Buffer.of(0, 1, 0, 0), entry, u64(0)])),
    Buffer.from([0]),
  ];
}

/**
 * Sends a stream to `from`, and waits until all of it has come to `to`.
 *
 * @param {readonly Buffer[]} chunks
 * @param {(source: import('node:net').Socket, connectTarget: () => import('node:net').Socket) => Promise<unknown>} pass
 */
async function move(chunks, pass) {
  const folder = mkdtempSync(path.join(tmpdir(), 'kvm-htab-bench-'));
  const [from, to] = [path.join(folder, 'a'), path.join(folder, 'b')];
  const [server, target] = [createServer().listen(from), createServer().listen(to)];
  let received = 0;
  target.on('connection', (socket) => {
    socket.on('data', ({ length }) => {
      received += length;
    });
  });
  await Promise.all([once(server, 'listening'), once(target, 'listening')]);
  const accepted = /** @type {Promise<[import('node:net').Socket]>} */ (once(server, 'connection'));
  const sending = pipeline(chunks, connect({ path: from }));
  const [source] = await accepted;
  await Promise.all([sending, pass(source, () => connect({ path: to }))]);
  for (const each of [server, target]) each.close();
  await once(target, 'close');
  rmSync(folder, { recursive: true });
  const total = chunks.reduce((sum, { length }) => sum + length, 0);
  if (received !== total) throw new Error(`${received} bytes of ${total} were received`);
}

/** @param {import('node:net').Socket} source */
async function* only(source) {
  yield await Promise.resolve(source);
}

function relayed() {
  const chunks = streamOfMemory();
  const ours = () =>
    move(chunks, (source, target) => relayMigration(only(source), () => Promise.resolve(target())));
  const pipe = () => move(chunks, (source, target) => pipeline(source, target()));
  return contest({ run: ours }, { run: pipe }, wallTime);
}

/** @type {import('./cases.mjs').Case[]} */
export const relay = [
  { name: 'relay, 128 MiB of memory, and a pipe of Node', ...atLeast(0.5, 0.4), waits: true, run: relayed },
];
