import { readFile } from 'node:fs/promises';
import { checkServerIdentity, type TLSSocket } from 'node:tls';
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
 * @throws Error of `readFile`
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
    const files = await Promise.all([readFile(cert), readFile(key), readFile(ca)]);
    const identity: Identity = {
      cert: files[0],
      key: files[1],
      ca: files[2],
      minVersion: 'TLSv1.3',
      rejectUnauthorized: true,
    };
    return { identity, peerName, insecurePlaintext };
  }
  if (given || peerName !== undefined) {
    throw new UsageError(
      '--cert, --key, --ca and --peer-name are for TLS: give the address as tls://HOST:PORT',
    );
  }
  return { identity: undefined, peerName: undefined, insecurePlaintext };
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
