import { decodeHpte } from './hpte.js';
import { HPTE_V_PRIVATE } from './hpte-bits.js';

/** The doublewords of an entry. */
export interface EntryValue {
  readonly v: bigint;
  readonly r: bigint;
}

/**
 * What differs between two values of an entry.
 *
 * - `page`: its virtual page, segment size, page sizes, or hash.
 * - `address`: the guest physical address.
 * - `protection`: pp, N, storage key.
 * - `cache`: W, I, M, G.
 * - `flags`: bolted, or software's bit.
 * - `marks`: R, C.
 */
export type ChangedPart = 'page' | 'address' | 'protection' | 'cache' | 'flags' | 'marks';

/** An entry that is not the same in two tables: `gone` is only in the first, `come` only in the second. */
export type EntryChange =
  | { readonly kind: 'gone'; readonly ptex: number; readonly before: EntryValue }
  | { readonly kind: 'come'; readonly ptex: number; readonly after: EntryValue }
  | {
      readonly kind: 'changed';
      readonly ptex: number;
      readonly before: EntryValue;
      readonly after: EntryValue;
      /** In the order of {@link ChangedPart}; at least one. */
      readonly parts: readonly ChangedPart[];
    };

const FLAGS = 0x18n;
const ADDRESS = 0x0fff_ffff_ffff_f000n;
const PROTECTION = 0xb000_0000_0000_0e07n;
const CACHE = 0x78n;
/** With the kernel's own mark, bit 62. */
const MARKS = 0x4000_0000_0000_0180n;

/** What differs between two values that are not the same. */
export function changedParts(before: EntryValue, after: EntryValue): ChangedPart[] {
  const v = (before.v ^ after.v) & ~BigInt(HPTE_V_PRIVATE);
  const r = before.r ^ after.r;
  const differs: Readonly<Record<ChangedPart, boolean>> = {
    page: (v & ~FLAGS) !== 0n || sizesOf(before) !== sizesOf(after),
    address: addressOf(before) !== addressOf(after),
    protection: (r & PROTECTION) !== 0n,
    cache: (r & CACHE) !== 0n,
    flags: (v & FLAGS) !== 0n,
    marks: (r & MARKS) !== 0n,
  };
  return (Object.keys(differs) as ChangedPart[]).filter((part) => differs[part]);
}

function sizesOf({ v, r }: EntryValue): string | undefined {
  const hpte = decodeHpte(v, r);
  return hpte === undefined ? undefined : `${hpte.basePageShift}/${hpte.actualPageShift}`;
}

/** All address bits, also those that an LP code does not leave a page, or where it is reserved. */
function addressOf({ v, r }: EntryValue): bigint {
  const hpte = decodeHpte(v, r);
  return hpte === undefined ? r & ADDRESS : hpte.guestAddress | hpte.unusedAddressBits;
}
