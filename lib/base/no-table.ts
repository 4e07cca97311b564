import { HtabUnavailableError } from './errors.js';

/** The guest has nothing to read: a descriptor of it gives 0 bytes for ever, as a quiet table does (kernel-abi.md 2.3). */
export function noTableError(): HtabUnavailableError {
  return new HtabUnavailableError(
    'no-table',
    'the guest has no hashed page table: it uses radix, or has not been given one yet',
    'there is nothing to read; a radix guest moves with its memory alone',
  );
}
