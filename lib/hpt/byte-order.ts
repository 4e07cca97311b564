import { endianness } from 'node:os';
import { HtabUnavailableError } from '../base/errors.js';

const LITTLE_ENDIAN_MACHINE = endianness() === 'LE';

/**
 * Headers of records travel little-endian, as on every supported host; loops over them do not turn them.
 *
 * @param problem what cannot be done
 * @throws HtabUnavailableError `endianness` on a big-endian machine
 */
export function checkLittleEndian(problem: string): void {
  if (!LITTLE_ENDIAN_MACHINE)
    throw new HtabUnavailableError('endianness', problem, 'use a little-endian machine');
}

/**
 * Turns a 32-bit word of an HPTE as it stands in a `Uint32Array` over stream bytes into its value, and back:
 * HPTEs travel big-endian on every host (kernel-abi.md 2.1).
 */
export function swapBigEndian(word: number): number {
  return LITTLE_ENDIAN_MACHINE ? reverseBytes(word) : word;
}

/** The same for words that travel little-endian. */
export function swapLittleEndian(word: number): number {
  return LITTLE_ENDIAN_MACHINE ? word : reverseBytes(word);
}

function reverseBytes(word: number): number {
  return ((word << 24) | ((word & 0xff00) << 8) | ((word >>> 8) & 0xff00) | (word >>> 24)) >>> 0;
}
