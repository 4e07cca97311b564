import type { Duplex } from 'node:stream';
import { checkFunction } from '../../base/arguments.js';
import { HtabError, HtabUnavailableError } from '../../base/errors.js';
import { checkOptions, numbersOf } from '../../base/options.js';
import { sleep } from '../../base/time.js';
import { QemuStreamParser } from '../stream/parser.js';
import { describeStream, type QemuStream, type QemuStreamProgress } from '../stream/read-qemu-stream.js';
import { chunksOf } from '../stream/chunk-source.js';
import { checkConnection, type QmpConnection } from './connection.js';
import { GuestStop } from './guest-stop.js';
import { letGoOn } from './let-go-on.js';
import { QEMU_TABLE_OPTIONS, type QemuTable, type QemuTableOptions } from './qemu-table-options.js';
import { isAtRest, migrationStateOf, refuseWhileMigrating } from './migration-guard.js';
import { prepareMigration } from './migration-settings.js';
import { runStateOf, stateError } from './run-state.js';
import { listenBeside, type StreamListener } from './stream-listener.js';

/** States that a migration leaves unharmed; `postmigrate` is one from which QEMU does not migrate. */
const READABLE: ReadonlySet<string> = new Set(['running', 'paused']);
const POLL_MS = 50;
/** Longest wait for the description after a stream's end, in ms: not every machine writes one. */
const DESCRIPTION_MS = 1000;
/** The message of a destination that could not load the guest: QEMU lets it run on at the source. */
const NOT_LOADED = Buffer.of(0, 1, 0, 4, 0, 0, 0, 1);

/**
 * Takes the page table of a guest out of a migration that QEMU makes to this process, and lets the guest go on: the way to the
 * table of a guest without KVM-HV (TCG, PR), of which there is no descriptor.
 *
 * The guest runs while its memory is sent, which is passed over, and stands still for the table and the devices. Memory of a
 * shared backend is left out (`x-ignore-shared`). QEMU is told at the end that the guest could not be loaded, and lets it run
 * by itself: so it does if this process is killed, at any moment. Its capabilities, and the parameters `max-bandwidth` and
 * `tls-creds`, are set back afterwards; `settingsError` says where that failed. `query-migrate` then says `failed`.
 *
 * A guest that stood still before is left so. QEMU 7.2 calls its state `postmigrate` then, and migrates it again only once it
 * has run (`cont`).
 *
 * @throws HtabStateError `in-use` if a migration runs; `busy` if the guest is in a state that cannot be left and come back
 *   to, or it stands still for too long
 * @throws HtabUnavailableError `refused` if QEMU refuses something, or its migration fails
 * @throws HtabFormatError for a stream that cannot be read
 * @throws HtabError `ERR_HTAB_GUEST_STOPPED` if the guest is not known to run again, `ERR_HTAB_IN_DOUBT` if another client
 *   has migrated it meanwhile
 * @throws HtabSystemError if no socket can be made beside the monitor's; the signal's reason
 *
 * @example
 * using qmp = await connectQmp('/run/qemu/guest.qmp');
 * const { stream, stopMs } = await readQemuTable(qmp);
 * console.log(stream.table?.validCount, stopMs);
 */
export async function readQemuTable(
  connection: QmpConnection,
  options: QemuTableOptions = {},
): Promise<QemuTable> {
  checkConnection(connection);
  checkOptions(options, QEMU_TABLE_OPTIONS);
  const { signal, onBegin = () => undefined } = options;
  checkFunction('onBegin', onBegin);
  const { stopLimitMs } = numbersOf(QEMU_TABLE_OPTIONS, options);
  signal?.throwIfAborted();
  const before = await runStateOf(connection);
  if (!READABLE.has(before)) throw stateError('migrated', before);
  await refuseWhileMigrating(connection);
  await using listener = await listenBeside(connection.path);
  const settings = await prepareMigration(connection);
  using stop = new GuestStop(connection, stopLimitMs, signal);
  try {
    onBegin({ ...settings.memory, running: before === 'running' });
    const ended = AbortSignal.any([stop.signal, connection.ended]);
    const stream = await readMigration(connection, listener, ended, options.onProgress).catch(
      async (error: unknown) => {
        await letGoOn(connection, before, error);
        throw error;
      },
    );
    const guestState = await letGoOn(connection, before);
    return { stream, stopMs: stop.stopMs, guestState, settingsError: await settings.restore() };
  } catch (error) {
    const settingsError = await settings.restore(error);
    // Where the guest is matters more than a setting.
    throw settingsError === undefined || isAboutGuest(error) ? error : settingsError;
  }
}

function isAboutGuest(error: unknown): boolean {
  return (
    error instanceof HtabError &&
    (error.code === 'ERR_HTAB_GUEST_STOPPED' || error.code === 'ERR_HTAB_IN_DOUBT')
  );
}

/** Reads a migration to its end. Whatever comes of it, the connection is closed: then QEMU ends the migration. */
async function readMigration(
  qmp: QmpConnection,
  { uri, connections }: StreamListener,
  signal: AbortSignal,
  onProgress: ((progress: QemuStreamProgress) => void) | undefined,
): Promise<QemuStream> {
  try {
    await qmp.execute('migrate', { uri });
    const socket = await arrivalOf(qmp, connections, signal);
    try {
      return await readStream(socket, signal, onProgress);
    } finally {
      socket.destroy();
    }
  } finally {
    connections.close();
  }
}

/** The connection of a migration that has been asked for. */
async function arrivalOf(
  qmp: QmpConnection,
  connections: AsyncIterable<Duplex>,
  signal: AbortSignal,
): Promise<Duplex> {
  const first = connections[Symbol.asyncIterator]().next();
  first.catch(() => undefined);
  for (;;) {
    const arrived = await Promise.race([first, sleep(POLL_MS, signal)]);
    if (arrived?.done === false) return arrived.value;
    const state = await migrationStateOf(qmp);
    if (!isAtRest(state)) continue;
    throw new HtabUnavailableError(
      'refused',
      `the QEMU at ${qmp.path} could not migrate to a socket of this process: ${state.reason || state.status}`,
      'see the log of QEMU, and whether it may connect to a socket in the folder of its monitor',
    );
  }
}

async function readStream(
  socket: Duplex,
  signal: AbortSignal,
  onProgress: ((progress: QemuStreamProgress) => void) | undefined,
): Promise<QemuStream> {
  socket.on('error', () => undefined);
  const parser = new QemuStreamParser();
  let timer: NodeJS.Timeout | undefined;
  const throwAway = (): void => {
    // From here on the end of the stream is that of the connection.
    if (socket.writable) socket.write(NOT_LOADED);
  };
  try {
    await using chunks = chunksOf(socket, signal);
    for (let chunk = await chunks.next(); chunk !== undefined; chunk = await chunks.next()) {
      parser.push(chunk);
      onProgress?.({ bytes: parser.offset, validEntries: parser.table?.validCount ?? 0 });
      if (parser.done) break;
      if (parser.atEnd) timer ??= setTimeout(throwAway, DESCRIPTION_MS);
    }
    throwAway();
    parser.finish();
    return describeStream(parser, undefined);
  } finally {
    clearTimeout(timer);
  }
}
