// What both ends of a migration inside need for TLS: an authority, and a certificate of each host under it.
import { mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { run } from './command.mjs';

const NEW_KEY = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes'];
/** From the build to the end of the tests. */
const DAYS = '2';

/**
 * Makes `ca.pem`, and for each host `NAME.pem` and `NAME.key`.
 *
 * @param {string} folder
 * @param {readonly string[]} hosts names that the certificates carry
 */
export async function makeCertificates(folder, hosts) {
  await mkdir(folder, { recursive: true });
  const authority = [join(folder, 'ca.pem'), join(folder, 'ca.key')];
  await request(authority, ['-subj', '/CN=authority']);
  const [certificate, key] = /** @type {[string, string]} */ (authority);
  for (const host of hosts) {
    const files = [join(folder, `${host}.pem`), join(folder, `${host}.key`)];
    const names = ['-subj', `/CN=${host}`, '-addext', `subjectAltName=DNS:${host}`];
    await request(files, [
      '-CA',
      certificate,
      '-CAkey',
      key,
      ...names,
      '-addext',
      'basicConstraints=CA:FALSE',
    ]);
  }
  await rm(key);
}

/**
 * @param {readonly string[]} files the certificate and its key
 * @param {readonly string[]} options
 */
async function request([certificate = '', key = ''], options) {
  await run('openssl', [
    'req',
    '-x509',
    ...NEW_KEY,
    '-out',
    certificate,
    '-keyout',
    key,
    '-days',
    DAYS,
    ...options,
  ]);
}
