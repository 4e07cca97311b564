import { duplexPair, type Duplex } from 'node:stream';
import { expect, test } from 'vitest';
import { HtabError } from '../../lib/base/errors.js';
import { relayMigration } from '../../lib/qemu/relay/relay.js';
import { spoiled } from '../../lib/qemu/stream/findings.js';
import { QemuStreamParser } from '../../lib/qemu/stream/parser.js';
import { eachSeed, fuzzRuns, noteLongRun } from './runs.js';
import { mutate } from './stream-mutations.js';

/** Mutated streams. A long run is `KVM_HTAB_FUZZ_RUNS=1000000 npx vitest run test/fuzz/qemu-relay`. */
const RUNS = fuzzRuns(1000);

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
  const counts = { refused: 0, passed: 0 };
  await eachSeed(RUNS, async (random, pieces) => {
    const bytes = mutate(pieces, random);
    const pieceBytes = random.chance(0.5) ? bytes.length + 1 : 20 + random.below(400);
    counts[await outcomeOf(bytes, pieceBytes)]++;
  });
  noteLongRun(RUNS, counts);
  expect(counts.refused).toBeGreaterThan(RUNS / 3);
  expect(counts.passed).toBeGreaterThan(RUNS / 100);
}, 7_200_000);
