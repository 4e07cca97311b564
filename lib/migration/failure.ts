import { HtabError } from '../errors.js';

/** Errors after which the same two sides may try again over another connection. */
const brokenConnections = new WeakSet<HtabError>();

/** An error of the migration itself: the peer, the connection or the way it went. */
export function migrationError(message: string, cause?: unknown): HtabError {
  return new HtabError('ERR_HTAB_MIGRATION', message, cause === undefined ? undefined : { cause });
}

/** The connection is no good any more: lost, silent or damaged. Nobody has decided anything. */
export function brokenConnection(message: string, cause?: unknown): HtabError {
  const error = migrationError(message, cause);
  brokenConnections.add(error);
  return error;
}

/** Two sources that call themselves by one name: what is said of one's guest would be believed of the other's. */
export function nameTwice(migrationId: string): HtabError {
  return migrationError(
    `another source has used the name ${migrationId}: give each migration one of its own`,
  );
}

const MAX_PEER_TEXT = 500;

/** What a peer has said, as it may stand in a message: on one line, without what terminals and logs act upon, not long. */
export function peerText(text: string): string {
  return text
    .slice(0, MAX_PEER_TEXT)
    .replace(/[\p{C}\p{Zl}\p{Zp}]+/gu, ' ')
    .trim();
}

/** Whether only the connection has failed, and not the migration. */
export function isBrokenConnection(error: unknown): boolean {
  return error instanceof HtabError && brokenConnections.has(error);
}

/** A table that is not what it must be. */
export function verifyError(message: string): HtabError {
  return new HtabError('ERR_HTAB_VERIFY', message);
}

/** It cannot be known which side has the guest. `whatToDo` is a clause without a full stop. */
export function inDoubt(message: string, whatToDo: string, cause?: unknown): HtabError {
  return new HtabError(
    'ERR_HTAB_IN_DOUBT',
    `${message}; ${whatToDo}`,
    cause === undefined ? undefined : { cause },
  );
}

/** A journal whose disk gives no sign of life: what was asked of it may be done yet, or never. */
export function silentJournal(ms: number): HtabError {
  return migrationError(`the journal has not answered within ${ms} ms: look at its disk`);
}

export function isInDoubt(error: unknown): boolean {
  return error instanceof HtabError && error.code === 'ERR_HTAB_IN_DOUBT';
}
