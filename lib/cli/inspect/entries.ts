import { virtualPageOf } from '../../hpt/hash.js';
import { HPTE_V_BOLTED } from '../../hpt/hpte-bits.js';
import type { HptTable } from '../../hpt/table.js';
import { findEntries, type FoundEntry } from '../../inspect/find-entries.js';
import { linuxAddress } from '../../inspect/linux-address.js';
import { linuxGuest } from '../../inspect/linux-guest.js';
import { kernelContext } from '../../inspect/linux-regions.js';
import { tableStats } from '../../inspect/table-stats.js';
import { UsageError } from '../errors/usage-error.js';
import type { KnownGuest } from '../report/entry-text.js';
import type { InspectCommandOptions } from './inspect-options.js';

/**
 * The entries that map an address: of the context given, of the kernel's own, or else of any process.
 *
 * @throws UsageError where no context is given, and the guest is not known to be Linux
 */
export function entriesAt(
  address: bigint,
  table: HptTable,
  guest: KnownGuest,
  context: number | undefined,
): FoundEntry[] {
  const contexts = context === undefined ? contextsWith(address, table, guest) : [context];
  return contexts.flatMap((each) => findEntries(table, { effectiveAddress: address, context: each }));
}

function contextsWith(address: bigint, table: HptTable, guest: KnownGuest): number[] {
  if (guest === undefined) {
    throw new UsageError(
      'the guest is no Linux guest, or one before 4.12: give --context to look all the same',
    );
  }
  const kernel = kernelContext(address, guest.kernelPages);
  if (kernel !== undefined) return [kernel];
  // Which processes there are, only all entries tell.
  const contexts = linuxGuest(tableStats(table))?.contexts ?? [];
  return contexts.filter(({ region }) => region === 'process').map(({ context }) => context);
}

/** The valid entries that the filters let pass, ascending. */
export function* listed(
  table: HptTable,
  { context, region, bolted }: Pick<InspectCommandOptions, 'context' | 'region' | 'bolted'>,
  guest: KnownGuest,
): Generator<FoundEntry> {
  for (const [ptex, { v, r }] of table) {
    if (bolted === true && (v & BigInt(HPTE_V_BOLTED)) === 0n) continue;
    if (context !== undefined || region !== undefined) {
      const page = virtualPageOf(ptex, v, r, table.order);
      const address = page && linuxAddress(page, guest?.kernelPages);
      if (context !== undefined && address?.context !== context) continue;
      if (region !== undefined && address?.region !== region) continue;
    }
    yield { ptex, v, r };
  }
}
