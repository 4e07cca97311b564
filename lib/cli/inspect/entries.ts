import { virtualPageOf } from '../../hpt/hash.js';
import { HPTE_V_BOLTED } from '../../hpt/hpte-bits.js';
import type { HptTable } from '../../hpt/table.js';
import { findEntries, type FoundEntry } from '../../inspect/find-entries.js';
import { linuxAddress } from '../../inspect/linux-address.js';
import type { LinuxGuest } from '../../inspect/linux-guest.js';
import { kernelContext } from '../../inspect/linux-regions.js';
import { UsageError } from '../errors/usage-error.js';
import type { InspectCommandOptions } from './inspect-options.js';

/**
 * The entries that map an address: of the context given, of the kernel's own, or else of any process.
 *
 * @throws UsageError where no context is given, and the guest is not known to be Linux
 */
export function entriesAt(
  address: bigint,
  table: HptTable,
  guest: LinuxGuest | undefined,
  context: number | undefined,
): FoundEntry[] {
  const contexts = context === undefined ? contextsWith(address, guest) : [context];
  return contexts.flatMap((each) => findEntries(table, { effectiveAddress: address, context: each }));
}

function contextsWith(address: bigint, guest: LinuxGuest | undefined): number[] {
  if (guest === undefined) {
    throw new UsageError(
      'the guest is no Linux guest, or one before 4.12: give --context to look all the same',
    );
  }
  const kernel = kernelContext(address, guest.kernelPages);
  if (kernel !== undefined) return [kernel];
  return guest.contexts.filter(({ region }) => region === 'process').map(({ context }) => context);
}

/** The valid entries that the filters let pass, ascending. */
export function* listed(
  table: HptTable,
  { context, region, bolted }: Pick<InspectCommandOptions, 'context' | 'region' | 'bolted'>,
  guest: LinuxGuest | undefined,
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
