import { groupOf, slotOf } from '../../hpt/geometry.js';
import { virtualPageOf } from '../../hpt/hash.js';
import { decodeHpte, type Hpte } from '../../hpt/hpte.js';
import type { FoundEntry } from '../../inspect/find-entries.js';
import { linuxAddress, type LinuxAddress } from '../../inspect/linux-address.js';
import type { KernelPages } from '../../inspect/linux-regions.js';
import { formatHex64, formatPageSize } from './format.js';

/** What is known of the guest whose entries are shown; undefined: it is not known to be Linux. */
export type KnownGuest = { readonly kernelPages: KernelPages } | undefined;

/** Access of the kernel and of programs by pp0 << 2 | pp, with Ks = 0 and Kp = 1. */
const ACCESS = ['rw/--', 'rw/r-', 'rw/rw', 'r-/r-', '?', '?', 'r-/--', '?'];

/** An entry's fields, for a program. */
export function entryFields({ ptex, v, r }: FoundEntry, order: number, guest: KnownGuest): object {
  const hpte = decodeHpte(v, r);
  const page = virtualPageOf(ptex, v, r, order);
  const address = page === undefined ? undefined : addressOf(page, guest);
  return {
    ptex,
    group: groupOf(ptex),
    slot: slotOf(ptex),
    v: hex(v),
    r: hex(r),
    segment: hpte?.segment,
    vsid: page && hex(page.vsid),
    offset: page && hex(page.offset),
    context: address?.context,
    region: address?.region,
    effectiveAddress: address && hex(address.effectiveAddress),
    guestAddress: hpte && hex(hpte.guestAddress),
    basePageShift: hpte?.basePageShift,
    actualPageShift: hpte?.actualPageShift,
    secondary: hpte?.secondary,
    bolted: hpte?.bolted,
    pp: hpte?.pp,
    key: hpte?.key,
    wimg: hpte?.wimg,
    noExecute: hpte?.noExecute,
    referenced: hpte?.referenced,
    changed: hpte?.changed,
    misplaced: hpte !== undefined && page === undefined,
  };
}

/** An entry on one line, without its ptex: the address, what it maps, and how. */
export function entryText({ ptex, v, r }: FoundEntry, order: number, guest: KnownGuest): string {
  const hpte = decodeHpte(v, r);
  if (hpte === undefined) return `unreadable: v ${formatHex64(v)} r ${formatHex64(r)}`;
  const page = virtualPageOf(ptex, v, r, order);
  const address = page === undefined ? undefined : addressOf(page, guest);
  const place =
    page === undefined
      ? 'misplaced'
      : address === undefined
        ? `vsid ${page.vsid.toString(16)} + ${page.offset.toString(16)}`
        : `${formatHex64(address.effectiveAddress)} ${contextText(address)}`;
  return `${place}: ${mappingText(hpte)}`;
}

function contextText({ region, context }: LinuxAddress): string {
  return region === 'vrma' ? 'vrma' : `${region} ${context}`;
}

/** What an entry maps, and how. */
function mappingText(hpte: Hpte): string {
  const { basePageShift, actualPageShift, guestAddress, pp, key, noExecute, referenced, changed } = hpte;
  const size =
    basePageShift === actualPageShift
      ? formatPageSize(actualPageShift)
      : `${formatPageSize(actualPageShift)} by ${formatPageSize(basePageShift)}`;
  const flags = [
    noExecute || (hpte.wimg & 1) !== 0 ? '' : 'x',
    referenced ? 'R' : '',
    changed ? 'C' : '',
    hpte.bolted ? 'bolted' : '',
    hpte.secondary ? 'secondary' : '',
    key === 0 ? '' : `key ${key}`,
    (hpte.wimg & 4) === 0 ? '' : 'uncached',
  ].filter((flag) => flag !== '');
  return [`guest ${guestAddress.toString(16)}`, size, ACCESS[pp]!, ...flags].join(' ');
}

function addressOf(page: Parameters<typeof linuxAddress>[0], guest: KnownGuest): LinuxAddress | undefined {
  return guest === undefined ? undefined : linuxAddress(page, guest.kernelPages);
}

/** For JSON, which has no integers of 64 bits. */
export function hex(value: bigint): string {
  return `0x${value.toString(16)}`;
}
