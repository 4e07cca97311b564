import { createPrivateKey, X509Certificate } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { checkServerIdentity, createSecureContext, type TLSSocket } from 'node:tls';
import { systemCall } from '../base/system-call.js';
import { invalidValueError } from '../base/arguments.js';
import { forOption } from '../base/for-option.js';
import { isLoopback, type Address } from './address.js';

/** Who may take part in a migration. TLS needs `cert`, `key` and `ca`; without TLS they are refused. */
export interface SecurityOptions {
  /** Path of the file with this host's certificate, and those between it and the authority's (PEM). */
  readonly cert?: string | undefined;
  /** Path of the file with its private key (PEM). */
  readonly key?: string | undefined;
  /** Path of the file with the authorities whose certificates a peer may have (PEM). No others are accepted. */
  readonly ca?: string | undefined;
  /**
   * Name or IP address that the peer's certificate must carry. Default: the host of the address for a connection, any name
   * for a listener.
   */
  readonly peerName?: string | undefined;
  /** Allow plaintext beyond this machine: anyone between can read and change the guest's table. Default false. */
  readonly insecurePlaintext?: boolean | undefined;
}

/** Options of node:tls common to both ends. */
export interface Identity {
  readonly cert: Buffer;
  readonly key: Buffer;
  readonly ca: Buffer;
  readonly minVersion: 'TLSv1.3';
  /** Set on both sides: NODE_TLS_REJECT_UNAUTHORIZED in the environment has no effect then. */
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
 * @throws TypeError (`ERR_INVALID_ARG_VALUE`) if certificates are missing for TLS, or given for plaintext: a plaintext
 *   connection must not look protected
 * @throws HtabSystemError for a file that cannot be read; Error for one with other contents
 */
export async function loadSecurity(address: Address, options: SecurityOptions): Promise<Security> {
  const { cert, key, ca, peerName, insecurePlaintext = false } = options;
  const given = cert !== undefined || key !== undefined || ca !== undefined;
  if (address.kind === 'tls' || (address.kind === 'systemd' && given)) {
    if (cert === undefined || key === undefined || ca === undefined) {
      throw invalidValueError(
        'TLS needs a certificate, its key, and the authority that has signed the certificate of the peer',
        cert === undefined ? 'cert' : key === undefined ? 'key' : 'ca',
      );
    }
    if (insecurePlaintext) {
      throw invalidValueError(
        'a tls:// address excludes plaintext; use one or the other',
        'insecurePlaintext',
      );
    }
    const identity: Identity = {
      cert: await readPem('cert', cert, 'certificate', (pem) => new X509Certificate(pem)),
      key: await readPem('key', key, 'private key', createPrivateKey),
      ca: await readPem('ca', ca, 'certificate', (pem) => new X509Certificate(pem)),
      minVersion: 'TLSv1.3',
      rejectUnauthorized: true,
    };
    check('cert', 'the certificate and the private key do not belong together', () =>
      createSecureContext(identity),
    );
    return { identity, peerName, insecurePlaintext };
  }
  if (given || peerName !== undefined) {
    throw invalidValueError(
      'certificates and the name of a peer need TLS; give the address as tls://HOST:PORT',
      cert !== undefined ? 'cert' : key !== undefined ? 'key' : ca !== undefined ? 'ca' : 'peerName',
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
  const pem = await forOption(option, systemCall(`read ${file}`, readFile(file)));
  check(option, `${file} is not a ${content} in PEM form`, () => parse(pem));
  return pem;
}

function check(option: string, problem: string, use: () => unknown): void {
  try {
    use();
  } catch (cause) {
    throw Object.assign(new Error(problem, { cause }), { option, code: 'ERR_INVALID_ARG_VALUE' });
  }
}

/** @throws TypeError (`ERR_INVALID_ARG_VALUE`) unless plaintext to or at this IP address stays on this machine, or is allowed to leave it */
export function checkPlaintext(ip: string, { identity, insecurePlaintext }: Security): void {
  if (identity !== undefined || insecurePlaintext || isLoopback(ip)) return;
  throw invalidValueError(
    `${ip} is beyond this machine, and without TLS anyone on the network can read and change the guest's table; ` +
      'use tls://, or allow plaintext',
    'insecurePlaintext',
  );
}

/** @throws Error (`ERR_TLS_CERT_ALTNAME_INVALID`) if the peer's certificate is not for this name */
export function checkPeerName(name: string | undefined, socket: TLSSocket): void {
  if (name === undefined) return;
  const error = checkServerIdentity(name, socket.getPeerCertificate());
  if (error !== undefined) throw error;
}
