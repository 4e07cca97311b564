import { HtabFormatError } from '../base/errors.js';
import { MAX_STREAM_ORDER } from '../hpt/geometry.js';
import {
  HPTE_R_C,
  HPTE_R_MODIFIED_HIGH,
  HPTE_R_R,
  HPTE_V_ABSENT,
  HPTE_V_PRIVATE,
  HPTE_V_VALID,
} from '../hpt/hpte-bits.js';
import { PossibleOrders } from '../hpt/placement.js';
import { HptTable } from '../hpt/table.js';
import { withOrder } from './with-order.js';

/** A line's index has 6 digits or more, each of its three doublewords 16. */
const MIN_INDEX = 6;
const MAX_INDEX = 8;
const AFTER_INDEX = 3 * 17;
const LINE_END = 10;
const SPACE = 32;
/** ISA 3.0 keeps the segment size in r: bits 59 and 58. */
const SEGMENT_SIZE_HIGH = 0x0c000000;

/** The beginning of such a text. */
const BEGINNING = /^ {0,5}[0-9a-f]{1,8} [0-9a-f]{7}/;

const DIGITS = new Int8Array(256).fill(-1);
for (let digit = 0; digit < 16; digit++) DIGITS[digit.toString(16).charCodeAt(0)] = digit;

/** Whether a file begins as KVM's text of a table does. */
export function isDebugfsText(magic: Buffer): boolean {
  return BEGINNING.test(magic.toString('latin1'));
}

/**
 * Makes a table of the text that KVM shows in debugfs, as `vm*` / `htab`. It has a line for each entry that is valid or absent:
 * index, v, the host's r and the guest's r, in hexadecimal.
 *
 * The entries get the bits that a descriptor would give: an absent one is valid, R and C of the host's r are in the guest's, and
 * a POWER9 host's v has the segment size, which ISA 3.0 moved to r.
 */
export class DebugfsText {
  readonly #name: string;
  readonly #table: HptTable;
  readonly #orders = new PossibleOrders();
  readonly #given: number | undefined;
  #rest = Buffer.alloc(0);
  #lines = 0;
  #offset = 0;
  #last = -1;

  /**
   * @param name of the file or stream, for errors
   * @param order of the table, where it is known
   */
  constructor(name: string, order: number | undefined) {
    this.#name = name;
    this.#given = order;
    this.#table = new HptTable(order ?? MAX_STREAM_ORDER);
  }

  get validCount(): number {
    return this.#table.validCount;
  }

  /** @throws HtabFormatError for a line that KVM does not write */
  push(chunk: Uint8Array): void {
    const bytes =
      this.#rest.length === 0
        ? Buffer.from(chunk.buffer, chunk.byteOffset, chunk.length)
        : Buffer.concat([this.#rest, chunk]);
    let from = 0;
    for (let end = bytes.indexOf(LINE_END); end !== -1; end = bytes.indexOf(LINE_END, from)) {
      this.#takeLine(bytes, from, end);
      this.#offset += end + 1 - from;
      from = end + 1;
    }
    if (bytes.length - from > MAX_INDEX + AFTER_INDEX) throw this.#refusal('it is too long');
    this.#rest = Buffer.from(bytes.subarray(from));
  }

  /**
   * Ends the text.
   *
   * @throws HtabFormatError where it ends inside a line; where its entries leave the order of the table open, with `option`
   */
  finish(): HptTable {
    if (this.#rest.length > 0) throw this.#refusal('the text ends inside it');
    if (this.#given !== undefined) return this.#table;
    const { smallest, largest } = this.#orders;
    if (smallest !== largest) throw this.#unknownOrder(smallest, largest);
    return withOrder(this.#table, smallest);
  }

  #takeLine(bytes: Buffer, from: number, end: number): void {
    const indexEnd = end - AFTER_INDEX;
    if (indexEnd < from + MIN_INDEX || indexEnd > from + MAX_INDEX)
      throw this.#refusal('it has another length');
    let at = from;
    while (at < indexEnd - 1 && bytes[at] === SPACE) at++;
    const ptex = hexadecimal(bytes, at, indexEnd);
    const [v, hostR, guestR] = [indexEnd, indexEnd + 17, indexEnd + 34];
    if (bytes[v] !== SPACE || bytes[hostR] !== SPACE || bytes[guestR] !== SPACE) {
      throw this.#refusal('its columns are not separated by spaces');
    }
    const vHigh = hexadecimal(bytes, v + 1, v + 9);
    const vLow = hexadecimal(bytes, v + 9, v + 17);
    const hostHigh = hexadecimal(bytes, hostR + 1, hostR + 9);
    const hostLow = hexadecimal(bytes, hostR + 9, hostR + 17);
    const rHigh = hexadecimal(bytes, guestR + 1, guestR + 9);
    const rLow = hexadecimal(bytes, guestR + 9, guestR + 17);
    if (ptex < 0 || vHigh < 0 || vLow < 0 || hostHigh < 0 || hostLow < 0 || rHigh < 0 || rLow < 0) {
      throw this.#refusal('it has something else than hexadecimal digits');
    }
    this.#check(ptex, vLow);
    const marks = (vLow & HPTE_V_VALID) === 0 ? 0 : hostLow & (HPTE_R_R | HPTE_R_C);
    const high = (vHigh | ((hostHigh & SEGMENT_SIZE_HIGH) << 4)) >>> 0;
    const low = ((vLow & ~HPTE_V_PRIVATE) | HPTE_V_VALID) >>> 0;
    this.#table.store(ptex, high, low, (rHigh & ~HPTE_R_MODIFIED_HIGH) >>> 0, (rLow | marks) >>> 0);
    this.#orders.add(ptex, high, low, rLow);
    this.#last = ptex;
    this.#lines++;
  }

  #check(ptex: number, vLow: number): void {
    if ((vLow & (HPTE_V_VALID | HPTE_V_ABSENT)) === 0)
      throw this.#refusal('its entry is neither valid nor absent');
    if (ptex <= this.#last) throw this.#refusal(`entry ${ptex} does not follow entry ${this.#last}`);
    if (ptex >= this.#table.entryCount) {
      throw this.#refusal(
        `a table of order ${this.#table.order} has no entry ${ptex}; its last is ${this.#table.entryCount - 1}`,
      );
    }
  }

  #refusal(reason: string): HtabFormatError {
    const line = this.#lines + 1;
    return new HtabFormatError(`${this.#name}: line ${line} is not one of KVM's debugfs text: ${reason}`, {
      byteOffset: this.#offset,
      recordIndex: this.#lines,
      place: `line ${line} at byte ${this.#offset}`,
    });
  }

  #unknownOrder(smallest: number, largest: number): HtabFormatError {
    const entries = `the ${this.#lines} entries of ${this.#name}`;
    const reason =
      smallest < largest
        ? `${entries} fit a table of any order in ${smallest}..${largest}; give its order`
        : `${entries} are in no table where their addresses hash to; give its order to look at it all the same`;
    return new HtabFormatError(reason, {
      byteOffset: this.#offset,
      recordIndex: this.#lines,
      place: '',
      option: 'order',
    });
  }
}

/** @returns -1 where something else than a digit stands */
function hexadecimal(bytes: Buffer, from: number, end: number): number {
  let value = 0;
  let signs = 0;
  for (let at = from; at < end; at++) {
    const digit = DIGITS[bytes[at]!]!;
    signs |= digit;
    value = (value << 4) | digit;
  }
  return signs < 0 ? -1 : value >>> 0;
}
