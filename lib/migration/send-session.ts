import type { HostModel } from '../vm/host.js';
import type { Connection } from './connection.js';
import type { SourceAccess } from './endpoints.js';
import { EntryRules } from './entry-rules.js';
import { publishPass } from './events.js';
import { migrationError, verifyError } from './failure.js';
import type { GuestControl } from '../io/guest-control.js';
import type { LiveTable } from './live-table.js';
import { PassSender } from './pass-sender.js';
import { nextStep, predictStopMs, type PassReport } from './policy.js';
import { hello } from './protocol.js';
import { checkBackends } from './receive-session.js';
import type { SendSettings } from './send-options.js';

/** Passes after the pause until nothing is left; a guest that stands still needs two. */
const MAX_STOPPED_PASSES = 16;

/** What a migration keeps from one connection to the next. */
export interface SendContext {
  readonly access: SourceAccess;
  readonly settings: SendSettings;
  readonly table: LiveTable;
  readonly guest: GuestControl;
  /** Called when the guest stands still. */
  readonly stopped: () => void;
}

/** What is ready to be committed. */
export interface Prepared {
  /** Of all records sent. */
  readonly recordsDigest: string;
  readonly validEntries: number;
  readonly passes: readonly PassReport[];
  readonly predictedStopMs: number | undefined;
  /** Until when the guest may stand still for what is left to do, on `performance`'s clock. */
  readonly stopEndsAt: number;
}

/** Makes sure that the other side can take this guest, and has an empty table for it. */
export async function greet(
  connection: Connection,
  { access, settings: { migrationId }, table: { order } }: Pick<SendContext, 'access' | 'settings' | 'table'>,
  attempt: number,
): Promise<EntryRules> {
  const { backend, host } = access;
  connection.startHeartbeat();
  await connection.send(hello({ migrationId, attempt, order, headerByteOrder: 'LE', backend, host }));
  const welcome = await connection.expect('welcome');
  checkBackends(backend, welcome.backend);
  return rulesBetween(host, welcome.host);
}

/** Between hosts of one kind every entry of the one is an entry of the other. */
function rulesBetween(source: HostModel | null, destination: HostModel | null): EntryRules {
  return new EntryRules(source === 'power9' ? null : destination);
}

/**
 * Brings a destination that has an empty table to where it can take the guest over: passes while the guest runs, the
 * pause, the rest, comparison. When this resolves the guest stands still and both sides have the same table.
 */
export async function sendTable(
  connection: Connection,
  rules: EntryRules,
  context: SendContext,
): Promise<Prepared> {
  const { settings, table, guest } = context;
  const sender = new PassSender(connection, table, rules, settings.passes);
  const publish = (report: PassReport): void => {
    publishPass({ side: 'source', migrationId: settings.migrationId, ...report });
  };
  if (table.isKnown) publish(await sender.resend());
  await copyLive(sender, context, publish);

  const predictedStopMs = predictStopMs(sender.reports);
  await guest.pause(settings.signal);
  context.stopped();
  const stopEndsAt = performance.now() + settings.stopLimitMs;
  const limit = setTimeout(() => {
    connection.fail(stoppedTooLong(settings.stopLimitMs));
  }, settings.stopLimitMs);
  try {
    await sendRest(sender, table, publish);
    await (settings.recheckSource ? table.recheck(settings.signal) : table.spotCheck());
    const { validCount: validEntries } = table.fold;
    const recordsDigest = await agree(connection, sender.digest, validEntries);
    return { recordsDigest, validEntries, passes: sender.reports, predictedStopMs, stopEndsAt };
  } finally {
    clearTimeout(limit);
  }
}

/** Passes while the guest runs, until it can be stopped. */
async function copyLive(
  sender: PassSender,
  { settings, guest }: SendContext,
  publish: (report: PassReport) => void,
): Promise<void> {
  for (;;) {
    const step = nextStep(sender.reports, settings.limits, guest.throttleSteps);
    if (step === 'pause') return;
    if (step === 'give-up') throw notConverging(sender.reports, settings);
    if (step === 'throttle') await guest.slowDown(settings.signal);
    publish(await sender.sendPass(true));
  }
}

/** Passes over the stopped guest's table until a read of all of it finds nothing. */
async function sendRest(
  sender: PassSender,
  table: LiveTable,
  publish: (report: PassReport) => void,
): Promise<void> {
  for (let passes = 0; passes < MAX_STOPPED_PASSES; passes++) {
    publish(await sender.sendPass(false));
    if (table.quiescent) return;
  }
  throw migrationError(
    `the table still changes ${MAX_STOPPED_PASSES} passes after the guest was stopped: something else writes to it, or it runs`,
  );
}

/** Makes sure that the destination has taken these records, and come to so many entries. */
async function agree(connection: Connection, digest: string, validEntries: number): Promise<string> {
  await connection.send({ type: 'prepare', digest, validEntries });
  const prepared = await connection.expect('prepared');
  if (prepared.digest === digest) return digest;
  throw verifyError(`the destination has digest ${prepared.digest}, the source ${digest}`);
}

/** @returns what ends a migration that keeps its guest stopped */
export function stoppedTooLong(stopLimitMs: number): Error {
  return migrationError(`the guest has been stopped for ${stopLimitMs} ms, as long as is allowed`);
}

function notConverging(passes: readonly PassReport[], { limits }: SendSettings): Error {
  const predicted = predictStopMs(passes);
  const changed = passes.at(-1)?.changedEntries;
  return migrationError(
    `the table changes too fast: after ${passes.length} passes ${changed ?? 'unknown'} entries still change, and the guest ` +
      `would stand still for ${predicted === undefined ? 'an unknown time' : `${Math.ceil(predicted)} ms`}; ` +
      `${limits.downtimeMs} ms are allowed`,
  );
}
