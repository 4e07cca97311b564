import { once } from 'node:events';
import { pipeline, Readable } from 'node:stream';
import { createGunzip } from 'node:zlib';
import { HtabFormatError, HtabUnavailableError } from '../../base/errors.js';
import { foreignText } from '../../base/foreign-text.js';
import { type ChunkSource, chunksOf } from './chunk-source.js';
import type { LibvirtCompression } from './libvirt-header.js';

const MAX_MESSAGE = 1000;

/**
 * The stream in a compressed source. Closing it closes the source.
 *
 * @throws HtabUnavailableError `unsupported` where there is no way to read it; its methods: where its program is missing
 */
export function decompress(
  source: ChunkSource,
  compression: LibvirtCompression,
  signal: AbortSignal | undefined,
): ChunkSource {
  if (compression === 'raw') return source;
  if (compression === 'sparse') {
    throw new HtabUnavailableError(
      'unsupported',
      'the save file is in the sparse format of libvirt, which is not supported',
      'save the guest again with another save_image_format',
    );
  }
  const chunks = compression === 'gzip' ? gunzip(source) : runProgram(source, compression, signal);
  const stream = chunksOf(chunks, signal);
  return {
    size: undefined,
    next: () => stream.next(),
    skip: () => 0,
    [Symbol.asyncDispose]: async () => {
      await stream[Symbol.asyncDispose]();
      await source[Symbol.asyncDispose]();
    },
  };
}

/** Copies: a decompressor looks at a chunk for longer than the source keeps it. */
async function* copiesOf(source: ChunkSource): AsyncGenerator<Buffer, void, undefined> {
  for (let chunk = await source.next(); chunk !== undefined; chunk = await source.next()) {
    yield Buffer.from(chunk);
  }
}

async function* gunzip(source: ChunkSource): AsyncGenerator<Uint8Array, void, undefined> {
  // Its errors are those of the iteration.
  const stream = pipeline(Readable.from(copiesOf(source)), createGunzip(), () => undefined);
  try {
    yield* stream as AsyncIterable<Uint8Array>;
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    throw code?.startsWith('Z_') === true ? damaged('gzip', (error as Error).message, error) : error;
  }
}

async function* runProgram(
  source: ChunkSource,
  program: string,
  signal: AbortSignal | undefined,
): AsyncGenerator<Uint8Array, void, undefined> {
  // It loads node:net, which few who import the package need.
  const { spawn } = await import('node:child_process');
  const child = spawn(program, ['-dc'], { stdio: 'pipe', signal });
  const ended = once(child, 'close') as Promise<[code: number | null]>;
  ended.catch(() => undefined);
  let said = '';
  child.stderr.on('data', (text: Buffer) => {
    if (said.length < MAX_MESSAGE) said += text.toString();
  });
  let failure: Error | undefined;
  child.on('error', (error) => (failure = error));
  // A program that stops reading closes its input: its exit tells why.
  pipeline(Readable.from(copiesOf(source)), child.stdin, (error) => {
    if (!error || error.code === 'EPIPE') return;
    failure ??= error;
    child.kill();
  });
  try {
    yield* child.stdout as AsyncIterable<Uint8Array>;
    const [code] = await ended;
    if (code !== 0) throw damaged(program, said, undefined);
  } catch (error) {
    const first = failure ?? error;
    throw (first as NodeJS.ErrnoException).code === 'ENOENT' ? missing(program, first) : first;
  } finally {
    child.kill();
  }
}

function missing(program: string, cause: unknown): HtabUnavailableError {
  return new HtabUnavailableError(
    'unsupported',
    `the save file is compressed by ${program}, and there is no program of this name`,
    `install ${program}`,
    { cause },
  );
}

function damaged(program: string, said: string, cause: unknown): HtabFormatError {
  return new HtabFormatError(`the save file cannot be decompressed: ${program}: ${foreignText(said)}`, {
    byteOffset: 0,
    recordIndex: 0,
    section: 'compressed stream',
    cause,
  });
}
