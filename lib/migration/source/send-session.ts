import type { HostModel } from '../../vm/host.js';
import type { Connection } from '../wire/connection.js';
import type { Source } from './source.js';
import { EntryRules, backendRefusal } from '../compatibility.js';
import { channels } from '../events.js';
import { limitError, migrationError, verifyError } from '../errors.js';
import type { GuestControl } from '../../precopy/guest-control.js';
import type { PassReport } from '../../precopy/pass-report.js';
import type { LiveTable } from './live-table.js';
import { PassSender } from './pass-sender.js';
import { predictStopMs } from '../../precopy/policy.js';
import { REST_FEATURE } from '../wire/messages.js';
import { copyLive } from './copy-live.js';
import { hello } from '../wire/protocol.js';
import { RestSender, type Finishing } from './rest-sender.js';
import type { SendSettings } from './send-settings.js';

/** Passes after the pause until nothing is left; a guest that stands still needs two. */
const MAX_STOPPED_PASSES = 16;

/** What a migration keeps from one connection to the next. */
export interface SendContext {
  readonly access: Source;
  readonly settings: SendSettings;
  readonly table: LiveTable;
  readonly guest: GuestControl;
  /** Called when the guest stands still. */
  readonly stopped: () => void;
}

/** What is ready to be committed. */
export interface Prepared {
  /** SHA-256 of all records and state sent; the journals of both sides have it. */
  readonly sentDigest: string;
  readonly validEntries: number;
  readonly passes: readonly PassReport[];
  readonly predictedStopMs: number | undefined;
  /** Whether the stopped guest's table was seen to be the one that was sent. */
  readonly sourceRechecked: boolean;
  /** Until when the guest may stand still for what is left to do, on `performance`'s clock. */
  readonly stopEndsAt: number;
}

/** Makes sure that the other side can take this guest, and has an empty table for it. */
export async function exchangeHello(
  connection: Connection,
  {
    access,
    settings: { migrationId, rest },
    table: { order },
  }: Pick<SendContext, 'access' | 'settings' | 'table'>,
  attempt: number,
): Promise<EntryRules> {
  const { backend, host } = access;
  connection.startHeartbeat();
  const about = { migrationId, attempt, order, headerByteOrder: 'LE', backend, host } as const;
  await connection.send(hello(about, rest === undefined ? [] : [REST_FEATURE]));
  const welcome = await connection.expect('welcome');
  const refusal = backendRefusal(backend, welcome.backend);
  if (refusal !== undefined) throw refusal;
  return rulesBetween(host, welcome.host);
}

/** Between hosts of one kind every entry of the one is an entry of the other. */
function rulesBetween(source: HostModel | null, destination: HostModel | null): EntryRules {
  return new EntryRules(source === 'power9' ? null : destination);
}

/**
 * Brings a destination that has an empty table to where it can take the guest over: passes while the guest runs, the
 * pause, the last passes and all else of the guest, comparison. When this resolves the guest stands still and both sides have
 * the same table, and the destination the whole guest.
 */
export async function sendTable(
  connection: Connection,
  rules: EntryRules,
  context: SendContext,
): Promise<Prepared> {
  const { settings, table, guest } = context;
  const sender = new PassSender(connection, table, rules, settings.passes);
  const publish = (report: PassReport): void => {
    channels.pass.publish({ side: 'source', migrationId: settings.migrationId, ...report });
  };
  if (table.isKnown) publish(await sender.resend());
  const restMs = await copyLive(connection, sender, context, publish);

  const rest = settings.rest && new RestSender(settings.rest, connection, settings);
  await rest?.ready();
  const tableMs = guest.alreadyPaused ? undefined : predictStopMs(sender.reports);
  const predictedStopMs = tableMs === undefined ? undefined : tableMs + restMs;
  await guest.pause(settings.signal);
  context.stopped();
  const { stopLimitMs } = settings;
  const stopEndsAt = performance.now() + stopLimitMs;
  const limit = setTimeout(() => {
    connection.fail(stopLimitError(stopLimitMs));
  }, stopLimitMs);
  try {
    const lastPasses = async (finishing?: Finishing): Promise<boolean> => {
      await sendLastPasses(sender, table, publish, finishing);
      return table.recheck(settings.recheckSource, settings.signal);
    };
    const { done: sourceRechecked, state } =
      rest === undefined
        ? { done: await lastPasses(), state: undefined }
        : await rest.finishBeside(stopLimitMs, lastPasses);
    if (state !== undefined) await sender.sendState(state);
    const { validCount: validEntries } = table.known;
    const sentDigest = await agree(connection, sender.digest, { validEntries, stateBytes: state?.length });
    return { sentDigest, validEntries, passes: sender.reports, predictedStopMs, sourceRechecked, stopEndsAt };
  } finally {
    clearTimeout(limit);
  }
}

/**
 * Passes over the stopped guest's table until a read of all of it finds nothing, in a pass that has begun when the rest was
 * finished: the last dirty log brings C bits to the table.
 */
async function sendLastPasses(
  sender: PassSender,
  table: LiveTable,
  publish: (report: PassReport) => void,
  finishing?: Finishing,
): Promise<void> {
  for (let passes = 0; passes < MAX_STOPPED_PASSES; passes++) {
    const isLast = finishing?.isDone ?? true;
    publish(await sender.sendPass(false));
    if (!table.quiescent) continue;
    if (isLast) return;
    await finishing?.state();
  }
  throw migrationError(
    `the table still changes ${MAX_STOPPED_PASSES} passes after the guest was stopped: the guest runs, or something else writes to the table`,
  );
}

/** Makes sure that the destination has received all that was sent, and counts as many entries. */
async function agree(
  connection: Connection,
  digest: string,
  { validEntries, stateBytes }: { readonly validEntries: number; readonly stateBytes: number | undefined },
): Promise<string> {
  await connection.send({
    type: 'prepare',
    digest,
    validEntries,
    ...(stateBytes !== undefined && { stateBytes }),
  });
  const prepared = await connection.expect('prepared');
  if (prepared.digest === digest) return digest;
  throw verifyError(
    `the destination has not received what was sent: it has digest ${prepared.digest}, the source ${digest}`,
  );
}

/** @returns what ends a migration that keeps its guest stopped */
export function stopLimitError(stopLimitMs: number): Error {
  return limitError('stopLimitMs', `the guest reached its stop limit of ${stopLimitMs} ms`);
}
