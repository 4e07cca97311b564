import { RecordCursor } from '../records/cursor.js';
import { basePageShift, actualPageShift, type PageShift } from '../hpt/page-size.js';
import { swapBigEndian } from '../hpt/byte-order.js';
import type { BackendName } from '../vm/contract.js';
import type { HostModel } from '../vm/host.js';
import { isLostOnPower9 } from '../vm/host.js';
import { migrationError } from './errors.js';

/** What a host can hold of a table; beyond what no kernel takes, which the cursor refuses. */
export class EntryRules {
  readonly #power9: boolean;
  readonly #pageShifts: readonly PageShift[] | undefined;

  /**
   * @param host of the destination; null: not known, nothing is refused for it
   * @param pageShifts pages that it can map; default: whatever the kernel takes
   */
  constructor(host: HostModel | null, pageShifts?: readonly PageShift[]) {
    this.#power9 = host === 'power9';
    this.#pageShifts = pageShifts;
  }

  /** For a pass over a table of this order: throws HtabError `ERR_HTAB_MIGRATION` at an entry that the host cannot hold. */
  cursor(order: number): RecordCursor {
    const hasNone = !this.#power9 && this.#pageShifts === undefined;
    const check = (record: RecordCursor): void => {
      if (this.#power9) checkBits(record);
      if (this.#pageShifts !== undefined) checkPages(record, this.#pageShifts);
    };
    return new RecordCursor({ order, ascending: true, check: hasNone ? undefined : check });
  }
}

/** Looks at all entries at once first: nearly every table has only such as a POWER9 keeps. */
function checkBits({ index, validCount, words, wordOffset }: RecordCursor): void {
  if (validCount === 0) return;
  const last = wordOffset + (validCount - 1) * 4;
  // Without a branch between one and two entries, the usual numbers in a sparse table.
  let bits = words[wordOffset]! | words[last]!;
  for (let at = wordOffset + 4; at < last; at += 4) bits |= words[at]!;
  if (!isLostOnPower9(bits)) return;
  let at = wordOffset;
  while (!isLostOnPower9(words[at]!)) at += 4;
  throw migrationError(
    `entry ${index + (at - wordOffset) / 4} uses bits 52..61 of its first doubleword, which the destination's POWER9 host ` +
      'does not keep: a guest with such an entry can move to POWER8 hosts only',
  );
}

function checkPages(
  { index, validCount, words, wordOffset }: RecordCursor,
  pageShifts: readonly PageShift[],
): void {
  for (let k = 0, at = wordOffset; k < validCount; k++, at += 4) {
    const vLow = swapBigEndian(words[at + 1]!);
    const rLow = swapBigEndian(words[at + 3]!);
    for (const shift of [basePageShift(vLow, rLow), actualPageShift(vLow, rLow)]) {
      if (shift === 0 || pageShifts.includes(shift)) continue;
      throw migrationError(
        `entry ${index + k} maps a page of ${2 ** shift} bytes; the destination cannot map such pages`,
      );
    }
  }
}

/**
 * Why a table cannot go from one kind of VM to another, if it cannot: a real guest is never moved to an emulated table, as
 * whatever falls back to emulation by itself loses the guest.
 */
export function backendRefusal(source: BackendName, destination: BackendName): Error | undefined {
  if (destination !== 'emulated' || source === 'emulated') return undefined;
  return migrationError(`the destination's table is emulated; a guest of a ${source} VM cannot run there`);
}
