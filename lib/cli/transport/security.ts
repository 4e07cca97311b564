import { createPrivateKey, X509Certificate } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { checkServerIdentity, createSecureContext, type TLSSocket } from 'node:tls';
import { systemCall } from '../../node/system-call.js';
import { about } from '../about.js';
import { UsageError } from '../usage-error.js';
import { isLoopback, type Address } from './address.js';

/** What the command line says about who may take part. */
export interface SecurityOptions {
  /** File with this host's certificate and those between it and the authority's, PEM. */
  readonly cert?: string;
  /** File with its private key, PEM. */
  readonly key?: string;
  /** File with the only authorities whose certificates are accepted, PEM. */
  readonly ca?: string;
  /** Name or IP address that the peer's certificate must carry. */
  readonly peerName?: string;
  /** Let the table travel beyond this machine for anybody to read and to change. */
  readonly insecurePlaintext?: boolean;
}

/** Options of node:tls common to both ends. */
export interface Identity {
  readonly cert: Buffer;
  readonly key: Buffer;
  readonly ca: Buffer;
  readonly minVersion: 'TLSv1.3';
  /** Said on both sides and in so many words: NODE_TLS_REJECT_UNAUTHORIZED in the environment then has no say. */
  readonly rejectUnauthorized: true;
}

/** How connections are protected: by TLS with certificates on both sides, or not at all. */
export interface Security {
  /** Undefined: plaintext. */
  readonly identity: Identity | undefined;
  readonly peerName: string | undefined;
  readonly insecurePlaintext: boolean;
}

/**
 * Reads what an address needs.
 *
 * @throws UsageError if certificates are missing for TLS, or given where there is none: nobody is to think that a plaintext
 *   connection is protected
 * @throws HtabSystemError for a file that cannot be read; Error for one that does not hold what it should
 */
export async function loadSecurity(address: Address, options: SecurityOptions): Promise<Security> {
  const { cert, key, ca, peerName, insecurePlaintext = false } = options;
  const given = cert !== undefined || key !== undefined || ca !== undefined;
  if (address.kind === 'tls' || (address.kind === 'systemd' && given)) {
    if (cert === undefined || key === undefined || ca === undefined) {
      throw new UsageError(
        'TLS needs --cert, --key and --ca: both ends show a certificate and check the other',
      );
    }
    if (insecurePlaintext) throw new UsageError('--insecure-plaintext contradicts TLS');
    const identity: Identity = {
      cert: await readPem('--cert', cert, 'certificate', (pem) => new X509Certificate(pem)),
      key: await readPem('--key', key, 'private key', createPrivateKey),
      ca: await readPem('--ca', ca, 'certificate', (pem) => new X509Certificate(pem)),
      minVersion: 'TLSv1.3',
      rejectUnauthorized: true,
    };
    check('--cert and --key cannot be used together', () => createSecureContext(identity));
    return { identity, peerName, insecurePlaintext };
  }
  if (given || peerName !== undefined) {
    throw new UsageError(
      '--cert, --key, --ca and --peer-name are for TLS: give the address as tls://HOST:PORT',
    );
  }
  return { identity: undefined, peerName: undefined, insecurePlaintext };
}

/** node:tls says only that a file is wrong, later, and not which one. */
async function readPem(
  option: string,
  file: string,
  content: string,
  parse: (pem: Buffer) => unknown,
): Promise<Buffer> {
  const pem = await about(option, systemCall(`read ${file}`, readFile(file)));
  check(`${option}: ${file} holds no ${content} (PEM)`, () => parse(pem));
  return pem;
}

function check(problem: string, use: () => unknown): void {
  try {
    use();
  } catch (cause) {
    throw new Error(problem, { cause });
  }
}

const NO_TLS = ['ERR_SSL_WRONG_VERSION_NUMBER', 'ERR_SSL_HTTP_REQUEST'];

/**
 * Has an error of node:tls say what is wrong, without the place in OpenSSL's source. Class, code and fields stay.
 *
 * @param hint what a peer that speaks no TLS usually means
 */
export function inWords(error: Error, hint: string): Error {
  const { code = '', reason } = error as { readonly code?: string; readonly reason?: string };
  if (NO_TLS.includes(code)) error.message = `the peer does not speak TLS: ${hint}`;
  else if (code.startsWith('ERR_SSL_') && reason !== undefined) error.message = reason;
  return error;
}

/** @throws UsageError unless plaintext to or at this IP address stays on this machine, or is allowed to leave it */
export function checkPlaintext(ip: string, { identity, insecurePlaintext }: Security): void {
  if (identity !== undefined || insecurePlaintext || isLoopback(ip)) return;
  throw new UsageError(
    `${ip} is beyond this machine, and without TLS anybody between could read and change the guest's table: ` +
      'use tls://, or say --insecure-plaintext',
  );
}

/** @throws Error (`ERR_TLS_CERT_ALTNAME_INVALID`) if the peer's certificate is not for this name */
export function checkPeerName(name: string | undefined, socket: TLSSocket): void {
  if (name === undefined) return;
  const error = checkServerIdentity(name, socket.getPeerCertificate());
  if (error !== undefined) throw error;
}
