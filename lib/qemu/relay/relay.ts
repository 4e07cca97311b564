import type { Duplex } from 'node:stream';
import {
  checkFunction,
  checkString,
  hasMethod,
  invalidTypeError,
  invalidValueError,
} from '../../base/arguments.js';
import { HtabStateError } from '../../base/errors.js';
import { checkOptions, numbersOf } from '../../base/options.js';
import { within } from '../../base/time.js';
import { MigrationFinder, type MigrationSource } from './migration-finder.js';
import { Link } from './link.js';
import { type RelayReport, relayReport } from './relay-report.js';
import { RELAY_OPTIONS, type RelayOptions, type RelayProgress } from './relay-options.js';
import { StreamWatch } from './watch.js';

const NEVER = new AbortController().signal;

/** Those that a relay has taken connections from: it may have one in hand when it ends, which another would never see. */
const served = new WeakSet<AsyncIterable<Duplex>>();

/**
 * Passes one migration of QEMU's on to another QEMU, with its return path, and reads the page table in it on the way. The
 * first byte of the devices' state goes on only once the table is known to be whole, in its range, of one order and
 * plausible. A migration that is refused ends on both sides: its guest goes on at the source.
 *
 * Memory of the guest passes untouched. What is held of the stream is the table, and some chunks.
 *
 * @param connections of `listen`, or others; all until the relay ends are looked at, the first migration is passed on. Each
 *   relay needs a listener of its own; it may be at the same address
 * @param openTarget connects to the QEMU that waits with `-incoming`; called once the source has begun
 * @throws HtabStateError `closed` if `connections` end before a migration has come, or have served another relay
 * @throws HtabFormatError for a stream, or a table, that is refused, with `section` and `byteOffset`
 * @throws HtabError `ERR_HTAB_MIGRATION` if an end is lost, the table has too few entries (`option` is `minEntries`), or the
 *   source uses what a relay cannot follow (postcopy, multifd, compress; TLS is refused by `onRefused`); `ERR_HTAB_VERIFY` for another digest;
 *   `ERR_HTAB_IN_DOUBT` if the guest may be on either side
 * @throws what `openTarget` throws; the signal's reason
 *
 * @example
 * using listener = await listen('unix:/run/a.sock');
 * const report = await relayMigration(listener, () => connect('unix:/run/b.sock'), { minEntries: 1000 });
 */
export async function relayMigration(
  connections: AsyncIterable<Duplex>,
  openTarget: (signal: AbortSignal) => Promise<Duplex>,
  options: RelayOptions = {},
): Promise<RelayReport> {
  checkOptions(options, RELAY_OPTIONS);
  if (!hasMethod(connections, Symbol.asyncIterator)) {
    throw invalidTypeError('connections', 'an async iterable of connections', connections);
  }
  checkFunction('openTarget', openTarget);
  const { signal = NEVER, expectDigest, onRefused = () => undefined } = options;
  checkFunction('onRefused', onRefused);
  if (expectDigest !== undefined) checkDigest(expectDigest);
  const { minEntries } = numbersOf(RELAY_OPTIONS, options);
  signal.throwIfAborted();
  if (served.has(connections)) {
    throw new HtabStateError('closed', 'this listener has served another relay; listen again for this one');
  }
  served.add(connections);
  const finder = new MigrationFinder(connections, onRefused);
  try {
    const ended = AbortSignal.any([signal, finder.trouble]);
    const source = await within(finder.first, Infinity, ended, () => undefined);
    const watch = new StreamWatch({ minEntries, expectDigest });
    const onProgress = (progress: RelayProgress): void => {
      if (progress.pages > 0 || progress.state !== 'copying') finder.setAlone();
      options.onProgress?.(progress);
    };
    const target = await open(source, openTarget, ended);
    return await pass(source, target, watch, { onProgress, signal: ended });
  } finally {
    finder.close();
  }
}

async function open(
  { socket }: MigrationSource,
  openTarget: (signal: AbortSignal) => Promise<Duplex>,
  signal: AbortSignal,
): Promise<Duplex> {
  try {
    return await openTarget(signal);
  } catch (error) {
    socket.destroy();
    throw error;
  }
}

async function pass(
  source: MigrationSource,
  target: Duplex,
  watch: StreamWatch,
  { onProgress, signal }: RelayOptions & { readonly signal: AbortSignal },
): Promise<RelayReport> {
  const startedAt = performance.now();
  const link: Link = new Link(source, target, watch, () => onProgress?.(progressOf(watch, link)));
  await link.run(signal);
  return relayReport(watch, link.returnPath, performance.now() - startedAt);
}

function progressOf({ judged, parser, returnPath, stop }: StreamWatch, { handedOver }: Link): RelayProgress {
  return {
    state: handedOver ? 'handed-over' : judged ? 'judged' : 'copying',
    bytes: parser.offset,
    pages: parser.ram?.pages ?? 0,
    validEntries: parser.table?.validCount ?? 0,
    returnPath,
    stop,
  };
}

function checkDigest(digest: string): void {
  checkString('expectDigest', digest);
  if (/^[0-9a-f]{64}$/.test(digest)) return;
  throw invalidValueError('The "expectDigest" argument must be 64 hexadecimal digits', 'expectDigest');
}
