import { execFileSync, spawnSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';

/** Why no certificates can be made here; undefined if they can. */
export const noCertificates =
  spawnSync('openssl', ['version']).status === 0 ? undefined : 'openssl is not installed';

/** Files of one host, as --cert, --key and --ca take them. */
export interface HostFiles {
  readonly cert: string;
  readonly key: string;
  readonly ca: string;
}

/** Makes certificates that are good for a day: an authority's and, under it, any host's. */
export class Authority {
  readonly #fileOf: (name: string) => string;
  readonly #cert: string;
  readonly #key: string;

  /** @param fileOf gives each file its place */
  constructor(name: string, fileOf: (name: string) => string) {
    this.#fileOf = fileOf;
    this.#cert = fileOf('ca.pem');
    this.#key = fileOf('ca.key');
    openssl('req', '-x509', ...newKey(this.#key), '-out', this.#cert, '-days', '1', '-subj', `/CN=${name}`);
  }

  /** @param subjectAltName such as `DNS:source,IP:127.0.0.1` */
  issue(subjectAltName: string, { expired = false } = {}): HostFiles {
    const file = (suffix: string): string =>
      this.#fileOf(`${subjectAltName.replaceAll(/\W/g, '-')}${expired ? '-old' : ''}${suffix}`);
    const [key, request, extensions, cert] = [file('.key'), file('.csr'), file('.ext'), file('.pem')];
    writeFileSync(extensions, `subjectAltName=${subjectAltName}\n`);
    openssl('req', ...newKey(key), '-out', request, '-subj', '/CN=host');
    const days = expired ? '-1' : '1';
    openssl(
      ...['x509', '-req', '-in', request, '-CA', this.#cert, '-CAkey', this.#key, '-CAcreateserial'],
      ...['-out', cert, '-days', days, '-extfile', extensions],
    );
    return { cert, key, ca: this.#cert };
  }
}

function newKey(file: string): string[] {
  return ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-keyout', file];
}

function openssl(...args: string[]): void {
  execFileSync('openssl', args, { stdio: 'pipe' });
}
