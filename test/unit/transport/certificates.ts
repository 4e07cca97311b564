import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';

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
  readonly #folder = mkdtempSync(path.join(tmpdir(), 'kvm-htab-ca-'));
  readonly #cert = path.join(this.#folder, 'ca.pem');
  readonly #key = path.join(this.#folder, 'ca.key');

  constructor(name: string) {
    openssl('req', '-x509', ...newKey(this.#key), '-out', this.#cert, '-days', '1', '-subj', `/CN=${name}`);
  }

  /** @param subjectAltName such as `DNS:source,IP:127.0.0.1` */
  issue(subjectAltName: string, { expired = false } = {}): HostFiles {
    const file = (suffix: string): string =>
      path.join(this.#folder, `${subjectAltName.replaceAll(/\W/g, '-')}${expired ? '-old' : ''}${suffix}`);
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
