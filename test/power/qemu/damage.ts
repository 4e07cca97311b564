import { once } from 'node:events';
import { connect, createServer } from 'node:net';
import { QemuStreamParser } from '../../../lib/qemu/stream/parser.js';
import { HTAB_SECTION } from '../../../lib/qemu/stream/layout.js';

/** The records of a part follow a word that is 0. */
const FIRST_RECORD = 4;

/**
 * Passes migrations on to a Unix socket, and flips a bit of each: the highest of a record's index.
 *
 * @returns the address at which it listens, until it is disposed of
 */
export async function damageRecord(to: string): Promise<Disposable & { readonly address: string }> {
  const address = `${to}.damaged`;
  const server = createServer({ allowHalfOpen: true }, (source) => {
    const target = connect({ path: to, allowHalfOpen: true });
    for (const socket of [source, target]) socket.on('error', () => undefined);
    target.pipe(source);
    target.on('close', () => source.destroy());
    source.on('close', () => target.destroy());
    const flip = flipFirstIndex();
    source.on('data', (chunk) => {
      if (target.write(flip(chunk))) return;
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
function flipFirstIndex(): (chunk: Buffer) => Buffer {
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
    if (target >= start && target < offset) chunk[target - start]! ^= 0x80;
    return chunk;
  };
}
