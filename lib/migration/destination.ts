import type { Duplex } from 'node:stream';
import { isVm } from '../io/vm-or-handle.js';
import type { HtabVm } from '../vm/contract.js';
import { checkConnections } from './acceptor.js';
import { checkEndpoint, type TargetTable } from './endpoints.js';
import { receiveSettings, type ReceiveOptions } from './receive-options.js';
import { Receiver } from './receiver.js';
import { Target } from './target.js';

export type { ReceiveOptions } from './receive-options.js';
export type { ReceiveProgress } from './receive-session.js';

/** A migration that has gone well, as the destination saw it. */
export interface ReceiveReport {
  readonly migrationId: string;
  /** log2 of the table's bytes. */
  readonly order: number;
  /** Valid entries in the table. */
  readonly validEntries: number;
  /**
   * Of the table, as `digestTable`; with `readBack`, the target's own has been compared with it. Takes as long as the
   * table is large, the first time: let the guest run before.
   */
  digest(): string;
  /** Passes on the last connection. */
  readonly passes: number;
  /** Record bytes applied on the last connection. */
  readonly bytes: number;
  /** Connections the source has used. */
  readonly attempts: number;
}

/**
 * Takes a guest's table from the {@link sendHpt} at the channel's other end. The target gets an empty table of the
 * source's order first, whatever it had; its guest must not run.
 *
 * When this resolves the table is complete, has been compared, the journal says that the guest is the destination's, and
 * it may run here. When it rejects it may not: what had arrived is thrown away, and the target's table is empty, or as it
 * was if no source came that far; except with `ERR_HTAB_IN_DOUBT`: then the journal may or may not have the decision, and nobody may run the guest until
 * somebody has looked.
 *
 * @param target what the table is to come to, or a function that opens it: called once, when a source has come with a
 *   table. Until then an agent that was started again answers for its journal, whatever has become of the VM
 * @param channel one connection, which is used up; or those of a listener, by which a source can come back after a
 *   broken one. Of a listener only `next()` is called, so that {@link answerOutcomes} can go on with it
 * @throws HtabError `ERR_HTAB_VERIFY` if the target's table is not what the source sent
 * @throws HtabError `ERR_HTAB_MIGRATION` if the peer or the connection failed, the table is one that cannot be, or the
 *   copy could not be thrown away
 * @throws HtabError `ERR_HTAB_IN_DOUBT` see above
 * @throws HtabFormatError for records no kernel would give
 * @throws HtabSystemError for what the target refuses (a table of this order, an entry), or the journal's file
 * @throws RangeError, TypeError for options and descriptors that cannot be; the channel has not been touched then
 * @throws the signal's reason; from the commit on the signal has no effect
 */
export async function receiveHpt(
  target: HtabVm | TargetTable | (() => Promise<HtabVm | TargetTable>),
  channel: Duplex | AsyncIterable<Duplex>,
  options: ReceiveOptions = {},
): Promise<ReceiveReport> {
  const given = typeof target === 'function' ? undefined : target;
  if (typeof target !== 'function') checkEndpoint('target', target);
  try {
    checkConnections('channel', channel);
    const settings = receiveSettings(options);
    await using lazily = new Target(
      typeof target === 'function' ? target : () => Promise.resolve(target),
      settings,
    );
    if (given !== undefined) await lazily.open();
    return await new Receiver(lazily, settings).run(channel);
  } finally {
    // Where the guest is does not depend on whether this fails.
    if (given !== undefined && !isVm(given)) await given.handle.close().catch(() => undefined);
  }
}
