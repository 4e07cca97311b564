import { outOfRangeError } from '../../base/arguments.js';
import { isVm } from '../../io/vm-or-handle.js';
import type { HtabVm } from '../../vm/contract.js';
import { Dialer, checkChannel, type Channel } from '../wire/dialer.js';
import { checkTableArgument, checkDescriptor, type SourceTable } from '../tables.js';
import { openSource } from './source.js';
import { GuestControl } from '../../precopy/guest-control.js';
import { SendMigration } from './send-migration.js';
import type { SendOptions } from './send-options.js';
import { sendSettings } from './send-settings.js';
import type { SendReport } from './send-report.js';

export type { SendOptions } from './send-options.js';

/**
 * Moves a guest's table to the {@link receiveHpt} at the other end of the channel while the guest runs: passes over the
 * table until the predicted stop fits `downtimeMs`, `pause`, the last passes, comparison, commit. With `rest` it is the whole
 * guest that is compared and committed.
 *
 * When this resolves, the guest is the destination's and must not run here again. When it rejects, the guest is here, and
 * has been resumed if this stopped it. There are two exceptions. `ERR_HTAB_GUEST_STOPPED`: the guest is here and stopped,
 * because it could not be resumed. `ERR_HTAB_IN_DOUBT`: the guest is stopped, and must stay so until the destination has
 * been asked ({@link askOutcome}) whether it runs there.
 *
 * @param channel one connection, which is used up; or a function that makes them: then a connection that breaks costs
 *   a resend of the table, while the guest runs, and the outcome of a commit that was not acknowledged is asked for. Until
 *   the destination has answered, nothing is tried again, unless `waitMs` allows it
 * @throws HtabError `ERR_HTAB_IN_DOUBT` if the connection was lost after the commit and before its acknowledgement, and
 *   the outcome could not be learnt
 * @throws HtabError `ERR_HTAB_VERIFY` if the destination's table is not what was sent
 * @throws HtabError `ERR_HTAB_GUEST_STOPPED` if the migration failed, and so did `resume`
 * @throws HtabError `ERR_HTAB_MIGRATION` if the peer or the connection failed, the destination cannot hold this table, or
 *   the table changes too fast
 * @throws HtabError `ERR_HTAB_MIGRATION` if `finish` of the rest rejects, or gives something else than a state; HtabStateError `busy` if an earlier
 *   call of it does not end in time
 * @throws HtabStateError `busy` if `pause` or `throttle` does not settle in time, or an earlier `pause` or `resume` of this
 *   guest still has not; and, before the channel is touched, while another operation reads or replaces the VM's table
 * @throws HtabStateError `replaced` if the guest was reset or its table resized, or another reader took its changes, more
 *   often than `maxRestarts` or where the migration cannot begin again; `order-changed` if the order is another
 * @throws HtabUnavailableError `no-table` if the guest uses radix, or went to it meanwhile
 * @throws HtabStateError, HtabSystemError, HtabUnavailableError, HtabFormatError as `HptReader`
 * @throws RangeError, TypeError for invalid options and descriptors; the channel has not been touched then
 * @throws the signal's reason; after the commit the signal only ends the asking
 *
 * @example
 * const report = await sendHpt(vm, () => connect('tls://host-b:7000', tls), { pause, resume, journal });
 */
export async function sendHpt(
  source: HtabVm | SourceTable,
  channel: Channel,
  options: SendOptions,
): Promise<SendReport> {
  checkTableArgument('source', source);
  try {
    checkChannel(channel);
    if (!isVm(source)) checkDescriptor(source, 'read');
    const settings = sendSettings(options);
    const access = await openSource(source, options.host);
    try {
      if (settings.recheckSource && access.fresh === undefined) {
        throw outOfRangeError('recheckSource', 'false for a descriptor without reopen', true);
      }
      const guest = new GuestControl(
        settings.guest,
        settings.guestTimeoutMs,
        isVm(source) ? source : undefined,
      );
      return await new SendMigration(access, guest, new Dialer(channel, settings), settings).run();
    } finally {
      access.release();
    }
  } finally {
    // Also where nothing was ever read from it. Where the guest is does not depend on whether this fails.
    if (!isVm(source)) await source.handle.close().catch(() => undefined);
  }
}
