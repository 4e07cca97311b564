import { hasMethod, invalidTypeError } from '../base/arguments.js';
import type { HtabHandle, HtabVm } from '../vm/contract.js';

// Told apart by what they can do, not by class: a caller's own implementation is as good as ours.

/** True for what descriptors can be opened of. */
export function isVm(value: unknown): value is HtabVm {
  return hasMethod(value, 'openHtab');
}

/** True for an open descriptor. */
export function isHandle(value: unknown): value is HtabHandle {
  return hasMethod(value, 'writeRecords');
}

/** @throws TypeError (`ERR_INVALID_ARG_TYPE`) */
export function checkVmOrHandle(name: string, value: unknown): void {
  if (!isVm(value) && !isHandle(value)) throw invalidTypeError(name, 'an HtabVm or an HtabHandle', value);
}
