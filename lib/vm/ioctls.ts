import { checkOneOf } from '../base/arguments.js';
import type { OpenHtabOptions } from './contract.js';

// What the VM's ioctls take, the same for the real kernel and the emulated one.

/** Flags of `KVM_PPC_GET_HTAB_FD` (kernel-abi.md 1.2). */
export const GET_HTAB_BOLTED_ONLY = 1;
export const GET_HTAB_WRITE = 2;

export function htabFlags({ access = 'read', boltedOnly = false }: OpenHtabOptions): number {
  return (access === 'write' ? GET_HTAB_WRITE : 0) | (boltedOnly ? GET_HTAB_BOLTED_ONLY : 0);
}

/** How a guest translates its addresses (`KVM_PPC_CONFIGURE_V3_MMU`). */
export type MmuMode = 'hash' | 'radix';

/**
 * Whether radix is wanted. Neither word may stand for the other: a guest loses the tables of the one it leaves.
 *
 * @throws TypeError (`ERR_INVALID_ARG_VALUE`) for any other word
 */
export function isRadix(mode: MmuMode): boolean {
  checkOneOf('mode', mode, ['hash', 'radix']);
  return mode === 'radix';
}
