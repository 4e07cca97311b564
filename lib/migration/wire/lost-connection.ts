import { HtabError } from '../../base/errors.js';
import { foreignText } from '../../base/foreign-text.js';
import { brokenConnectionError, migrationError } from '../errors.js';
import type { Side } from '../journal/journal.js';
import type { Abort, Message } from './messages.js';

/** Of a channel that was not connected yet when it was given. */
const CONNECT_CALLS = ['connect', 'getaddrinfo'];
/** A peer that refuses a certificate, or bytes that are none of its protocol, does not say so to the other side. */
const SILENT_PEER =
  "sent anything: it may not accept this host's certificate, or expect TLS, or plaintext; see its log";

/**
 * A connection that has ended.
 *
 * @param peer its other side
 * @param cause what its channel failed with, if it did
 * @param heard whether the peer had sent anything
 */
export function lostConnectionError(peer: Side, cause: unknown, heard: boolean): HtabError {
  if (heard) return brokenConnectionError('the connection ended during the migration', cause);
  const { syscall = '', message } = (cause ?? {}) as Partial<NodeJS.ErrnoException>;
  if (CONNECT_CALLS.includes(syscall))
    return brokenConnectionError(`the connection failed: ${message}`, cause);
  const why = message === undefined ? '' : ` (${message})`;
  return brokenConnectionError(`the connection ended${why} before the ${peer} ${SILENT_PEER}`, cause);
}

/** Longest reason sent with an abort, in characters: even fully escaped it fits a frame. */
const MAX_REASON = 500;

/** What tells the peer that this side gives up. */
export function abortFor(error: unknown, retry: boolean): Abort {
  const code = error instanceof HtabError ? error.code : 'ERR_HTAB_MIGRATION';
  const reason = (error instanceof Error ? error.message : String(error)).slice(0, MAX_REASON);
  return { type: 'abort', code, reason, retry };
}

/**
 * What ended the migration or the connection at the peer. The reason is told from there: its `here` is the peer's host.
 */
export function peerGaveUpError(peer: Side, { code, reason, retry }: Abort): HtabError {
  const said = `the ${peer} reports: ${foreignText(reason)}`;
  if (retry) return brokenConnectionError(said);
  return code === 'ERR_HTAB_VERIFY' ? new HtabError(code, said) : migrationError(said);
}

/** A peer that says something else than it must. */
export function unexpectedMessageError(peer: Side, message: Message, due: string): HtabError {
  return migrationError(`the ${peer} sent ${nameOf(message)} where ${due} was due`);
}

/** Of messages that come often the type alone does not tell what is wrong. */
function nameOf(message: Message): string {
  switch (message.type) {
    case 'pass-begin':
    case 'pass-end':
      return `${message.type} of pass ${message.pass}`;
    case 'applied':
      return `applied for frame ${message.sequence}`;
    default:
      return message.type;
  }
}
