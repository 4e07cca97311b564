import { HtabError } from '../base/errors.js';

/**
 * Only the connection has failed: lost, silent or damaged. Nothing is decided, and the same two sides may try again over
 * another one.
 */
class BrokenConnectionError extends HtabError {
  constructor(message: string, cause?: unknown) {
    super('ERR_HTAB_MIGRATION', message, { cause });
  }
}

/** A failure of the migration itself: of the peer, the connection, or what one side asks of the other. */
export function migrationError(message: string, cause?: unknown): HtabError {
  return new HtabError('ERR_HTAB_MIGRATION', message, { cause });
}

/** What an option allows is exceeded; the error carries the option's name. */
export function limitError(option: string, message: string): HtabError {
  return new HtabError('ERR_HTAB_MIGRATION', message, { option });
}

export function brokenConnectionError(message: string, cause?: unknown): HtabError {
  return new BrokenConnectionError(message, cause);
}

/** Two sources with one migration id: an answer about the guest of one would be believed about that of the other. */
export function duplicateIdError(migrationId: string): HtabError {
  return migrationError(`migration id ${migrationId} is already in use; ids must be unique`);
}

/** Whether only the connection has failed, and not the migration. */
export function isBrokenConnection(error: unknown): boolean {
  return error instanceof BrokenConnectionError;
}

/** The two copies differ though each frame was whole: a host's memory or one of the programs is at fault. */
export function verifyError(found: string): HtabError {
  return new HtabError(
    'ERR_HTAB_VERIFY',
    `${found}; move the guest again with a new id, and if that fails too, check the memory of both hosts`,
  );
}

/** Neither side is known to have the guest. `whatToDo` is a clause without a full stop. */
export function inDoubtError(message: string, whatToDo: string, cause?: unknown): HtabError {
  return new HtabError('ERR_HTAB_IN_DOUBT', `${message}; ${whatToDo}`, { cause });
}

/** The journal's disk hangs: the operation may still be done, or never. */
export function journalTimeoutError(ms: number): HtabError {
  return migrationError(`the journal did not answer within ${ms} ms; check its disk`);
}

export function isInDoubt(error: unknown): boolean {
  return error instanceof HtabError && error.code === 'ERR_HTAB_IN_DOUBT';
}
