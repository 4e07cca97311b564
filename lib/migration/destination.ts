import type { Duplex } from 'node:stream';
import { RecordCursor } from '../format/cursor.js';
import type { HtabVm } from '../vm/contract.js';
import { Connection, unexpected } from './connection.js';
import { timeoutOf, type MigrationOptions } from './options.js';
import { migrationError, type Hello, type Message, type PassCounts } from './protocol.js';
import { TableCopy } from './table-copy.js';

/** How far the destination has come. */
export interface ReceiveProgress {
  /** Number of the pass, from 1. */
  readonly pass: number;
  /** Record bytes applied, over all passes. */
  readonly bytes: number;
  /** Valid entries in the table so far. */
  readonly validEntries: number;
}

export interface ReceiveOptions extends MigrationOptions {
  /** Called after every data frame. */
  readonly onProgress?: (progress: ReceiveProgress) => void;
}

/** A migration that has gone well, as the destination saw it. */
export interface ReceiveReport {
  readonly migrationId: string;
  /** log2 of the table's bytes. */
  readonly order: number;
  /** Valid entries in the table. */
  readonly validEntries: number;
  /** Of the target's table as it was read back, as `digestTable`. */
  readonly digest: string;
  readonly passes: number;
  /** Record bytes applied. */
  readonly bytes: number;
}

type Prepare = Extract<Message, { readonly type: 'prepare' }>;

/**
 * Takes a guest's table from the {@link sendHpt} at the channel's other end. The target gets an empty table of the
 * source's order first, whatever it had; its guest must not run. The channel is used up.
 *
 * When this resolves the table is complete, has been read back and compared, and the guest may run here. When it rejects
 * it may not: what had arrived is thrown away, and the target's table is empty.
 *
 * @throws HtabError `ERR_HTAB_VERIFY` if the target's table is not what the source sent
 * @throws HtabError `ERR_HTAB_MIGRATION` if the peer or the connection failed, or the copy could not be thrown away
 * @throws HtabFormatError for records no kernel would give
 * @throws HtabSystemError for what the target refuses: a table of this order, or an entry
 * @throws RangeError for options out of range; the channel has not been touched then
 * @throws the signal's reason; after the commit the signal has no effect
 */
export async function receiveHpt(
  target: HtabVm,
  channel: Duplex,
  options: ReceiveOptions = {},
): Promise<ReceiveReport> {
  const connection = new Connection(channel, timeoutOf(options), options.signal);
  let copy: TableCopy | undefined;
  let report: ReceiveReport;
  try {
    const { migrationId, order } = checkHello(await connection.expect('hello'));
    copy = await TableCopy.begin(target, order);
    await connection.send({ type: 'welcome', backend: target.backend });
    const prepare = await applyPasses(connection, copy, options);
    const digest = await copy.verify(prepare);
    await connection.send({ type: 'prepared', digest });
    await connection.expect('commit');
    const { validEntries, passes, bytes } = copy;
    report = { migrationId, order, validEntries, digest, passes, bytes };
  } catch (error) {
    // The copy goes before the source hears of it: our abort tells it that nothing of its guest is left here.
    const failure = await discard(copy, error);
    await connection.abort(failure);
    throw failure;
  }
  // The source has let go of the guest: nothing can make this a failure any more.
  connection.ignoreSignal();
  await connection.send({ type: 'committed' }).catch(() => undefined);
  await connection.finish();
  return report;
}

function checkHello(hello: Hello): Hello {
  // Records are written to the target as they come, and every supported host reads little-endian headers.
  if (hello.headerByteOrder !== 'LE') {
    throw migrationError(
      `the source sends record headers in ${hello.headerByteOrder} byte order; LE is supported`,
    );
  }
  return hello;
}

/** Applies pass upon pass, until the source says that it has no more. */
async function applyPasses(
  connection: Connection,
  copy: TableCopy,
  options: ReceiveOptions,
): Promise<Prepare> {
  for (;;) {
    const { message } = await connection.receive();
    const pass = copy.passes + 1;
    if (message.type === 'prepare' && copy.passes > 0) return message;
    if (message.type !== 'pass-begin' || message.pass !== pass)
      throw unexpected(message, `pass-begin of pass ${pass}`);
    await applyPass(connection, copy, options);
    copy.passes = pass;
  }
}

async function applyPass(connection: Connection, copy: TableCopy, options: ReceiveOptions): Promise<void> {
  const pass = copy.passes + 1;
  const cursor = new RecordCursor({ order: copy.order, ascending: true });
  const arrived = { validEntries: 0, invalidEntries: 0, bytes: 0 };
  for (;;) {
    const { message, sequence } = await connection.receive();
    if (message.type === 'pass-end') {
      if (message.pass === pass && sameCounts(message, arrived)) return;
      throw migrationError(
        `the source ends pass ${message.pass} with ${describe(message)}; pass ${pass} had ${describe(arrived)}`,
      );
    }
    if (message.type !== 'data') throw unexpected(message, 'data or pass-end');
    const { validEntries, invalidEntries, bytes } = await copy.apply(message.records, cursor);
    arrived.validEntries += validEntries;
    arrived.invalidEntries += invalidEntries;
    arrived.bytes += bytes;
    await connection.send({ type: 'applied', sequence });
    options.onProgress?.({ pass, bytes: copy.bytes, validEntries: copy.validEntries });
  }
}

function sameCounts(a: PassCounts, b: PassCounts): boolean {
  return a.validEntries === b.validEntries && a.invalidEntries === b.invalidEntries && a.bytes === b.bytes;
}

function describe({ validEntries, invalidEntries, bytes }: PassCounts): string {
  return `${validEntries} valid and ${invalidEntries} invalid entries in ${bytes} bytes`;
}

/** Throws away what has arrived; gives the error to report. */
async function discard(copy: TableCopy | undefined, error: unknown): Promise<unknown> {
  try {
    await copy?.discard();
    return error;
  } catch (failure) {
    return migrationError(
      'the migration failed, and what had arrived could not be thrown away: the target must not be run',
      new AggregateError([error, failure]),
    );
  }
}
