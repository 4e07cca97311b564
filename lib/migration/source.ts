import { outOfRange } from '../arguments.js';
import { isVm } from '../io/vm-or-handle.js';
import type { HtabVm } from '../vm/contract.js';
import { Dialer, checkChannel, type Channel } from './dialer.js';
import { checkEndpoint, checkDescriptor, sourceAccess, type SourceTable } from './endpoints.js';
import { GuestControl } from '../io/guest-control.js';
import type { PassReport } from './policy.js';
import { SendMigration } from './send-migration.js';
import { sendSettings, type SendOptions } from './send-options.js';

export type { SendOptions } from './send-options.js';

/** A migration that has gone well, as the source saw it. */
export interface SendReport {
  readonly migrationId: string;
  /** log2 of the table's bytes. */
  readonly order: number;
  /** Valid entries in the table that was moved. */
  readonly validEntries: number;
  /** Of the table, as `digestTable`; the destination's is the same. Takes as long as the table is large, the first time. */
  digest(): string;
  /** Passes on the last connection. */
  readonly passes: readonly PassReport[];
  /** Connections made or tried. */
  readonly attempts: number;
  /** From the call of `pause` until the source knew that the guest is the destination's. */
  readonly stopMs: number;
  /** What this was expected to be, `pause` itself aside; undefined if too few passes were made to tell. */
  readonly predictedStopMs: number | undefined;
  /** How the source came to know: the destination said so, or had to be asked over another connection. */
  readonly acknowledged: 'directly' | 'asked';
}

/**
 * Moves a guest's table to the {@link receiveHpt} at the channel's other end, while the guest runs: passes over the table
 * until the guest would stand still no longer than it may, `pause`, the rest, comparison, commit.
 *
 * When this resolves the guest is the destination's and must not run here again. When it rejects, the guest is here and
 * has been resumed if it was stopped; except with `ERR_HTAB_GUEST_STOPPED`: then it is here and stands still, for it could
 * not be resumed; and with `ERR_HTAB_IN_DOUBT`: then it is stopped and must stay so until the destination has been asked
 * (see {@link askOutcome}) whether it runs there.
 *
 * @param channel one connection, which is used up; or a function that makes them: then a connection that breaks costs
 *   a resend of the table, while the guest runs, and the outcome of a commit that was not acknowledged is asked for
 * @throws HtabError `ERR_HTAB_IN_DOUBT` if the connection was lost after the commit and before its acknowledgement, and
 *   the outcome could not be learnt
 * @throws HtabError `ERR_HTAB_VERIFY` if the destination's table is not what was sent
 * @throws HtabError `ERR_HTAB_GUEST_STOPPED` if the migration failed, and so did `resume`
 * @throws HtabError `ERR_HTAB_MIGRATION` if the peer or the connection failed, the destination cannot hold this table, or
 *   the table changes too fast
 * @throws HtabStateError `busy` if `pause` or `throttle` does not settle in time, or an earlier `pause` or `resume` of this
 *   guest still has not
 * @throws HtabStateError, HtabSystemError, HtabUnavailableError, HtabFormatError as `HptReader`
 * @throws RangeError, TypeError for options and descriptors that cannot be; the channel has not been touched then
 * @throws the signal's reason; after the commit the signal only ends the asking
 */
export async function sendHpt(
  source: HtabVm | SourceTable,
  channel: Channel,
  options: SendOptions,
): Promise<SendReport> {
  checkEndpoint('source', source);
  try {
    checkChannel(channel);
    if (!isVm(source)) checkDescriptor(source, 'read');
    const settings = sendSettings(options);
    const access = await sourceAccess(source, options.host);
    if (settings.recheckSource && !access.canReopen) {
      throw outOfRange('recheckSource', 'false for a descriptor without reopen', true);
    }
    const guest = new GuestControl(options, settings.guestTimeoutMs, isVm(source) ? source : undefined);
    return await new SendMigration(access, guest, new Dialer(channel, settings), settings).run();
  } finally {
    // Also where nothing was ever read from it. Where the guest is does not depend on whether this fails.
    if (!isVm(source)) await source.handle.close().catch(() => undefined);
  }
}
