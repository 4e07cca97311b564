import { invalidArgument } from '../arguments.js';
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

export function neitherVmNorHandle(name: string): TypeError {
  return invalidArgument('ERR_INVALID_ARG_TYPE', `The "${name}" argument must be an HtabVm or an HtabHandle`);
}

function hasMethod(value: unknown, name: string): boolean {
  return (
    typeof value === 'object' &&
    value !== null &&
    typeof (value as Record<string, unknown>)[name] === 'function'
  );
}
