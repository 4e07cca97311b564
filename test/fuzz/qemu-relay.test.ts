import { duplexPair, type Duplex } from 'node:stream';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { expect, test } from 'vitest';
import { HtabError } from '../../lib/base/errors.js';
import { SeededRandom } from '../../lib/base/random.js';
import { relayMigration } from '../../lib/qemu/relay/relay.js';
import { spoiled } from '../../lib/qemu/stream/findings.js';
import { QemuStreamParser } from '../../lib/qemu/stream/parser.js';
import { mutate, piecesOf } from './stream-mutations.js';

/** Mutated streams. A long run is `KVM_HTAB_FUZZ_RUNS=1000000 npx vitest run test/fuzz/qemu-relay`. */
const RUNS = Number(process.env['KVM_HTAB_FUZZ_RUNS'] ?? 1000);
/** Bytes of heap and buffers that all runs together may leave. */
const MAX_GROWTH = 64 << 20;

setFlagsFromString('--expose-gc');
const collect = runInNewContext('gc') as () => void;

function usedBytes(): number {
  collect();
  const { heapUsed, arrayBuffers } = process.memoryUsage();
  return heapUsed + arrayBuffers;
}

/** Reads what a destination gets as it would, without judging it. */
class Destination {
  readonly parser: QemuStreamParser;
  readonly socket: Duplex;
  bytes = 0;
  devices = false;
  /** Why it has no guest. */
  failure: unknown;

  constructor(socket: Duplex) {
    this.socket = socket;
    this.parser = new QemuStreamParser({
      onDevices: () => {
        this.devices = true;
      },
    });
    socket.on('error', () => undefined);
    socket.on('data', (chunk: Buffer) => {
      this.bytes += chunk.length;
      // What comes after all of a guest does not matter.
      if (this.parser.mayBeWhole) return;
      try {
        this.parser.push(chunk);
      } catch (error) {
        this.failure = error;
      }
    });
    socket.on('end', () => socket.end());
  }
}

async function* only(socket: Duplex): AsyncGenerator<Duplex> {
  yield await Promise.resolve(socket);
}

/** Passes a stream on, and checks what came of it. */
async function outcomeOf(stream: Buffer, pieceBytes: number): Promise<'refused' | 'passed'> {
  const [near, source] = duplexPair();
  const [target, far] = duplexPair();
  const destination = new Destination(far);
  source.on('error', () => undefined).resume();
  for (let at = 0; at < stream.length; at += pieceBytes) source.write(stream.subarray(at, at + pieceBytes));
  source.end();
  const open = (): Promise<Duplex> => Promise.resolve(target);
  const error = await relayMigration(only(near), open, { minEntries: 0 }).then(
    () => undefined,
    (reason: unknown) => reason as Error,
  );
  await new Promise((resolve) => setImmediate(resolve));
  const { parser, failure } = destination;
  if (failure !== undefined) throw new Error('what cannot be read was passed on', { cause: failure });
  if (error === undefined) {
    if (!parser.mayBeWhole) parser.finish();
    const found = spoiled(parser.findings.list.filter(({ kind }) => kind !== 'radix'));
    if (found !== undefined) throw new Error(`${found.kind} was passed on`);
    if (destination.bytes !== stream.length)
      throw new Error(`${destination.bytes} of ${stream.length} bytes`);
    return 'passed';
  }
  if (!(error instanceof HtabError)) throw error;
  // The source opened no return path, or has gone: only the end of the stream makes a guest of what went before.
  if (error.code === 'ERR_HTAB_IN_DOUBT') return 'passed';
  if (parser.mayBeWhole) throw new Error('all of a guest was passed on', { cause: error });
  const soundSoFar = spoiled(parser.findings.list.filter(({ kind }) => kind !== 'radix')) === undefined;
  if (destination.devices && !soundSoFar) throw new Error('devices followed a bad table', { cause: error });
  return 'refused';
}

test('of a mutated stream a relay passes on all, with a table that is right, or never its end', async () => {
  let pieces: Buffer[] = [];
  const counts = { refused: 0, passed: 0 };
  const before = usedBytes();
  for (let seed = 1; seed <= RUNS; seed++) {
    const random = new SeededRandom(seed);
    if (seed % 50 === 1) pieces = piecesOf(random);
    const bytes = mutate(pieces, random);
    const pieceBytes = random.chance(0.5) ? bytes.length + 1 : 20 + random.below(400);
    try {
      counts[await outcomeOf(bytes, pieceBytes)]++;
    } catch (error) {
      throw new Error(`seed ${seed}: ${String(error)}`, { cause: error });
    }
  }
  expect(usedBytes() - before).toBeLessThan(MAX_GROWTH);
  if (RUNS >= 100_000) console.log(counts);
  expect(counts.refused).toBeGreaterThan(RUNS / 3);
  expect(counts.passed).toBeGreaterThan(RUNS / 100);
}, 3_600_000);
