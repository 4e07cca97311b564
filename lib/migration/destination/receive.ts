import type { Duplex } from 'node:stream';
import { tryBriefly } from '../../base/time.js';
import { isVm } from '../../io/vm-or-handle.js';
import type { HtabVm } from '../../vm/contract.js';
import { checkConnections } from '../wire/acceptor.js';
import { checkTableArgument, type TargetTable } from '../tables.js';
import type { ReceiveOptions } from './receive-options.js';
import { receiveSettings } from './receive-settings.js';
import type { ReceiveReport } from './receive-report.js';
import { Receiver } from './receiver.js';
import { LazyTarget } from './lazy-target.js';

export type { ReceiveOptions } from './receive-options.js';
export type { ReceiveProgress } from './receive-report.js';

/**
 * Receives a guest's table from the {@link sendHpt} at the other end of the channel. The target first gets an empty table
 * of the source's order, whatever it had; its guest must not run.
 *
 * When this resolves, the guest may run here: the table is complete and has been compared, and the journal says that the
 * guest is the destination's. When it rejects, the guest must not run here: the target's table is empty, or unchanged if
 * no source came that far. The exception is `ERR_HTAB_IN_DOUBT`: the journal may or may not have the decision, and the
 * guest must not be run on either host until an operator has checked it.
 *
 * With `rest` the whole guest is taken: it is put in its place before the source commits, runs when this resolves, and is
 * discarded before this rejects, except in doubt. `ERR_HTAB_GUEST_STOPPED`: the guest is here and could not be run.
 *
 * Any number of calls, one after the other or at once, may share a listener if they are given the same object. A source
 * goes to the call that waits for its `migrationId`, else to the call without `migrationId` that has waited longest; a
 * source that no call waits for is told to connect again later. {@link answerOutcomes} shares it in the same way.
 *
 * On a listener, a source that is refused at its `hello` (byte order, backend, order, an id already decided) ends no call: it
 * goes on waiting, and `onRefused` is told. Only `signal` ends the wait.
 *
 * @param target the VM or the table to fill, or a function that opens it. The function is called once, when a source has
 *   come with a table. Until then an agent that was started again answers for its journal, even if the VM is gone
 * @param channel one connection, which is used up; or a listener, over which a source can come back after a broken
 *   connection. Of a listener only `next()` is called
 * @throws HtabError `ERR_HTAB_VERIFY` if the target's table is not what the source sent
 * @throws HtabError `ERR_HTAB_MIGRATION` if the peer or the connection failed, the table is invalid, or the copy could not
 *   be discarded
 * @throws HtabError `ERR_HTAB_MIGRATION` if `accept` of the rest rejects, or `discard` does after another failure
 * @throws HtabError `ERR_HTAB_IN_DOUBT`, `ERR_HTAB_GUEST_STOPPED` see above
 * @throws HtabStateError `busy` while another operation of this process reads, writes or replaces the VM's table
 * @throws HtabFormatError for records that no kernel gives
 * @throws HtabSystemError for what the target refuses (a table of this order, an entry), or the journal's file
 * @throws RangeError, TypeError for invalid options and descriptors; the channel has not been touched then
 * @throws the signal's reason; from the commit on the signal has no effect
 *
 * @example
 * using listener = await listen('tls://0.0.0.0:7000', { cert: 'host.pem', key: 'host.key', ca: 'fleet.pem' });
 * const { order, validEntries } = await receiveHpt(vm, listener, { journal });
 */
export async function receiveHpt(
  target: HtabVm | TargetTable | (() => Promise<HtabVm | TargetTable>),
  channel: Duplex | AsyncIterable<Duplex>,
  options: ReceiveOptions = {},
): Promise<ReceiveReport> {
  const given = typeof target === 'function' ? undefined : target;
  if (typeof target !== 'function') checkTableArgument('target', target);
  try {
    checkConnections('channel', channel);
    const settings = receiveSettings(options);
    await using lazily = new LazyTarget(
      typeof target === 'function' ? target : () => Promise.resolve(target),
      settings,
    );
    if (given !== undefined) await lazily.open();
    return await new Receiver(lazily, settings).run(channel);
  } finally {
    // Where the guest is does not depend on whether this fails.
    if (given !== undefined && !isVm(given)) await tryBriefly(() => given.handle.close());
  }
}
