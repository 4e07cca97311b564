import { randomUUID } from 'node:crypto';
import type { Duplex } from 'node:stream';
import { HtabError } from '../errors.js';
import { digestTable } from '../hpt/digest.js';
import type { HptTable } from '../hpt/table.js';
import { HptReader } from '../io/reader.js';
import { streamOrder } from '../io/stream-order.js';
import type { HtabVm } from '../vm/contract.js';
import { Connection } from './connection.js';
import { integerOption, timeoutOf, type MigrationOptions } from './options.js';
import { PassSender, type SendProgress } from './pass-sender.js';
import { shouldPause, type PassReport, type PrecopyLimits } from './policy.js';
import { MAX_DATA_BYTES, hello, migrationError } from './protocol.js';

/** Passes after the pause until nothing is left; a guest that stands still needs two (power-rig.md 10). */
const MAX_STOPPED_PASSES = 16;
/** A frame holds one read, and a read fills at most the buffer (kernel-abi.md 2.3). */
const MIN_FRAME_BYTES = 4096;

export interface SendOptions extends MigrationOptions, Partial<PrecopyLimits> {
  /** Stops the guest: once it has resolved, no vcpu runs and nothing else changes the table. */
  readonly pause: () => Promise<void>;
  /** Lets the guest run again: called if the migration fails after `pause` was called, and never once it may run elsewhere. */
  readonly resume: () => Promise<void>;
  /** Record bytes per second while the guest runs; default: as fast as the destination takes them. */
  readonly bytesPerSecond?: number;
  /** Longest data frame, 4096..2^20; default 2^20. Smaller ones give steadier progress and cost more calls. */
  readonly frameBytes?: number;
  /** Called after every data frame and at the end of every pass. */
  readonly onProgress?: (progress: SendProgress) => void;
}

/** A migration that has gone well, as the source saw it. */
export interface SendReport {
  readonly migrationId: string;
  /** log2 of the table's bytes. */
  readonly order: number;
  /** Valid entries in the table that was moved. */
  readonly validEntries: number;
  /** Of the table, as `digestTable`; the destination's own table, read back, has the same. */
  readonly digest: string;
  readonly passes: readonly PassReport[];
  /** From the call of `pause` until the destination said that the guest is its own. */
  readonly stopMs: number;
}

/**
 * Moves a guest's table to the {@link receiveHpt} at the channel's other end, while the guest runs: passes over the table
 * until few entries change, `pause`, the rest, comparison, commit. The channel is used up.
 *
 * When this resolves the guest is the destination's and must not run here again. When it rejects, the guest is here and
 * has been resumed if it was stopped; except with `ERR_HTAB_IN_DOUBT`: then it is stopped and must stay so until the
 * destination has been asked whether it runs there.
 *
 * @throws HtabError `ERR_HTAB_IN_DOUBT` if the connection was lost after the commit and before its acknowledgement
 * @throws HtabError `ERR_HTAB_VERIFY` if the destination's table is not what was sent
 * @throws HtabError `ERR_HTAB_MIGRATION` if the peer or the connection failed, or the guest could not be resumed
 * @throws HtabStateError, HtabSystemError, HtabUnavailableError, HtabFormatError as `HptReader`
 * @throws RangeError for options out of range; the channel has not been touched then
 * @throws the signal's reason; after the commit the signal has no effect
 */
export async function sendHpt(source: HtabVm, channel: Duplex, options: SendOptions): Promise<SendReport> {
  const timeoutMs = timeoutOf(options);
  const limits = precopyLimits(options);
  const frameBytes = integerOption(
    'frameBytes',
    options.frameBytes,
    MAX_DATA_BYTES,
    MIN_FRAME_BYTES,
    MAX_DATA_BYTES,
  );
  const bytesPerSecond = integerOption('bytesPerSecond', options.bytesPerSecond, Infinity, 1, 2 ** 40);
  const { signal, onProgress } = options;
  const migrationId = randomUUID();
  const connection = new Connection(channel, timeoutMs, signal);
  let guest: 'running' | 'stopped' | 'committed' = 'running';
  try {
    const order = tableOrder(source);
    await greet(connection, source, order, migrationId);

    // A channel may hold on to the bytes it has taken, so buffers are not used twice.
    const reader = await HptReader.open(source, {
      bufferBytes: frameBytes,
      recycle: false,
      ...(signal && { signal }),
    });
    const sender = new PassSender(connection, reader, { order, bytesPerSecond, signal, onProgress });
    let stoppedAt: number;
    try {
      while (!shouldPause(sender.reports, limits)) await sender.sendPass(true);
      guest = 'stopped';
      stoppedAt = performance.now();
      await options.pause();
      await sendRest(sender, reader);
    } finally {
      await reader.close();
    }

    const digest = await agree(connection, sender.table);
    connection.ignoreSignal();
    guest = 'committed';
    await connection.send({ type: 'commit' });
    await connection.expect('committed');
    const stopMs = performance.now() - stoppedAt;
    await connection.finish();
    const { validCount: validEntries } = sender.table;
    return { migrationId, order, validEntries, digest, passes: sender.reports, stopMs };
  } catch (error) {
    // A destination that gives up instead of acknowledging has not taken the guest: only silence leaves a doubt.
    if (guest === 'committed' && !connection.peerGaveUp) {
      await connection.finish();
      throw inDoubt(migrationId, error);
    }
    const [resumed] = await Promise.allSettled([
      guest === 'running' ? undefined : resumeGuest(options),
      connection.abort(error),
    ]);
    if (resumed.status === 'rejected') throw stillStopped(error, resumed.reason);
    throw error;
  }
}

/** Makes sure that the other side can take this guest, and has an empty table for it. */
async function greet(
  connection: Connection,
  source: HtabVm,
  order: number,
  migrationId: string,
): Promise<void> {
  connection.startHeartbeat();
  await connection.send(hello({ migrationId, order, headerByteOrder: 'LE', backend: source.backend }));
  const { backend } = await connection.expect('welcome');
  if (backend === 'emulated' && source.backend !== 'emulated') {
    throw migrationError(
      `the destination's table is emulated: a guest of a ${source.backend} VM cannot run on it`,
    );
  }
}

/** Makes sure that the destination has this table, and gives its digest. */
async function agree(connection: Connection, table: HptTable): Promise<string> {
  const digest = digestTable(table);
  await connection.send({ type: 'prepare', digest, validEntries: table.validCount });
  const prepared = await connection.expect('prepared');
  if (prepared.digest === digest) return digest;
  throw new HtabError(
    'ERR_HTAB_VERIFY',
    `the destination has digest ${prepared.digest}, the source ${digest}`,
  );
}

/** Passes over the stopped guest's table until a read of all of it finds nothing. */
async function sendRest(sender: PassSender, reader: HptReader): Promise<void> {
  for (let passes = 0; passes < MAX_STOPPED_PASSES; passes++) {
    await sender.sendPass(false);
    if (reader.quiescent) return;
  }
  throw migrationError(
    `the table still changes ${MAX_STOPPED_PASSES} passes after the guest was stopped: something else writes to it, or it runs`,
  );
}

function tableOrder(source: HtabVm): number {
  const order = streamOrder(source, undefined);
  if (order === undefined)
    throw migrationError('the source has no hashed page table, or does not know its order');
  return order;
}

function precopyLimits(options: Partial<PrecopyLimits>): PrecopyLimits {
  return {
    maxPasses: integerOption('maxPasses', options.maxPasses, 16, 0, 2 ** 31 - 1),
    maxChangedEntries: integerOption('maxChangedEntries', options.maxChangedEntries, 256, 0, 2 ** 32),
  };
}

// The callback is the caller's: one that throws instead of rejecting must not keep the channel open.
async function resumeGuest(options: SendOptions): Promise<void> {
  await options.resume();
}

function inDoubt(migrationId: string, cause: unknown): HtabError {
  return new HtabError(
    'ERR_HTAB_IN_DOUBT',
    `the commit of migration ${migrationId} was sent and not acknowledged: the guest may run at the destination, and ` +
      'must stay stopped here until the destination has been asked',
    { cause },
  );
}

function stillStopped(error: unknown, reason: unknown): HtabError {
  return migrationError(
    'the migration failed, and the guest could not be resumed at the source: it is there, unharmed and stopped',
    new AggregateError([error, reason]),
  );
}
