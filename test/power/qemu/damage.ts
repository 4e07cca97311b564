import { once } from 'node:events';
import { connect, createServer } from 'node:net';
import { QemuStreamParser } from '../../../lib/qemu/stream/parser.js';
import { HTAB_SECTION } from '../../../lib/qemu/stream/layout.js';

/** The records of a part follow a word that is 0. */
const FIRST_RECORD = 4;

/** A record's index is a big-endian u32. */
const INDEX_BYTES = 4;

/** What becomes of a byte of a record's index; `at` is its place in there, 0..3. */
export type Damage = (byte: number, at: number) => number;

/** Flips the highest bit. */
export const outOfRange: Damage = (byte, at) => (at === 0 ? byte ^ 0x80 : byte);
/** Makes it the largest that there is: the record's end has more than 32 bits. */
export const wraps: Damage = () => 0xff;

/**
 * Passes migrations on to a Unix socket, and damages the index of the first record of each.
 *
 * @returns the address at which it listens, until it is disposed of
 */
export async function damageRecord(
  to: string,
  damage: Damage,
): Promise<Disposable & { readonly address: string }> {
  const address = `${to}.damaged`;
  const server = createServer({ allowHalfOpen: true }, (source) => {
    const target = connect({ path: to, allowHalfOpen: true });
    for (const socket of [source, target]) socket.on('error', () => undefined);
    target.pipe(source);
    target.on('close', () => source.destroy());
    source.on('close', () => target.destroy());
    const spoil = spoilFirstIndex(damage);
    source.on('data', (chunk) => {
      if (target.write(spoil(chunk))) return;
      source.pause();
      target.once('drain', () => source.resume());
    });
  });
  server.listen(address);
  await once(server, 'listening');
  return {
    address,
    [Symbol.dispose]: () => {
      server.close();
    },
  };
}

/** @returns takes the stream in pieces and gives them back, one of them changed */
function spoilFirstIndex(damage: Damage): (chunk: Buffer) => Buffer {
  let offset = 0;
  let target = Infinity;
  const parser = new QemuStreamParser({
    onPayload: ({ section, type, payloadOffset }) => {
      if (section.name !== HTAB_SECTION || type === 'start') return;
      target = Math.min(target, payloadOffset + FIRST_RECORD);
    },
  });
  return (chunk) => {
    const start = offset;
    offset += chunk.length;
    if (target === Infinity) parser.push(Buffer.from(chunk));
    const from = Math.max(target, start);
    for (let at = from; at < Math.min(target + INDEX_BYTES, offset); at++) {
      chunk[at - start] = damage(chunk[at - start]!, at - target);
    }
    return chunk;
  };
}
