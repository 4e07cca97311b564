import { HtabError } from '../base/errors.js';
import { optionOf } from '../base/for-option.js';

const NO_TLS = ['ERR_SSL_WRONG_VERSION_NUMBER', 'ERR_SSL_HTTP_REQUEST'];

/**
 * An error of `node:dns` or `node:tls` in words that say what is wrong: a new error with its code, and with it as the cause.
 * Any other error stays.
 *
 * @param operation what was being done, in words
 * @param hint the usual reason for a peer that does not speak TLS
 */
export function plainError(error: unknown, hint: string, operation?: string): unknown {
  if (!(error instanceof Error) || error instanceof HtabError || optionOf(error) !== undefined) return error;
  const { code, reason } = error as { readonly code?: unknown; readonly reason?: string };
  if (typeof code !== 'string' || code.startsWith('ABORT')) return error;
  const words = wordsFor(code, hint) ?? (code.startsWith('ERR_SSL_') ? reason : undefined) ?? error.message;
  const message = operation === undefined ? words : `${operation}: ${words}`;
  const made = Object.assign(new Error(message, { cause: error }), { code });
  return code === 'ERR_TLS_CERT_ALTNAME_INVALID' ? Object.assign(made, { option: 'peerName' }) : made;
}

function wordsFor(code: string, hint: string): string | undefined {
  if (code === 'ENOTFOUND') return 'unknown host; check the name and DNS';
  if (code === 'EAI_AGAIN') return 'the name server does not answer; check DNS';
  if (NO_TLS.includes(code)) return `the peer does not speak TLS; ${hint}`;
  return undefined;
}
