// The addon of the bench: what the library is measured against, in C++, and the clock.
import { createHash } from 'node:crypto';
import { existsSync, readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';
import { hostTarget, missingFor, rebuild, root, targets } from '../native/toolchain.mjs';

/**
 * @typedef {object} FlatTable a table as a C program would keep it, gone through entry by entry
 * @property {(state: Float64Array, buffer: Uint8Array) => number} read one read(2); `state` is the index to begin at
 *   and whether this is the first pass. Returns the bytes written
 * @property {(state: Float64Array, buffer: Uint8Array) => Promise<number>} readOnPool the same as a job of the pool; one
 *   at a time
 * @property {() => Float64Array} stats what `tableStats` counts, in the order of `struct Stats`
 * @property {(records: Uint8Array) => boolean} store checks whole records and applies them; false if one is bad
 * @property {(places: Uint32Array, tracked: boolean) => number} enterAndRemove makes an entry in the group of each place,
 *   then removes all of them; how many that were
 *
 * @typedef {object} Addon
 * @property {new (entries: Uint32Array, marks: Uint32Array) => FlatTable} FlatTable four words an entry in both
 * @property {(records: Uint8Array, entryCount: number, totals: Float64Array) => boolean} decode checks whole records and
 *   adds records, valid entries, invalid entries and indexes to `totals`; false if one is bad
 * @property {(fd: number) => number} readAll one read(2) of 1 MiB after the other up to the file's end; bytes
 * @property {(fd: number, records: Uint8Array) => boolean} writeEach one write(2) per record; whether all were taken
 * @property {() => number} threadCpuTime ns this thread has run
 * @property {(path: string) => number} listenAt descriptor of a Unix socket that waits for connections
 * @property {(fd: number) => Promise<number>} acceptFrom descriptor of the next connection
 * @property {(path: string) => number} connectTo descriptor of a connection
 * @property {SendTable} sendTable moves a table over a connection, which it closes; whether the other side agrees
 * @property {ReceiveTable} receiveTable takes it, and writes each record to `writeFd`. The bytes are also what reading it
 *   back gives
 *
 * @callback SendTable
 * @param {number} fd
 * @param {Uint8Array} bytes what a read descriptor gives, one read after the other
 * @param {Uint32Array} lengths bytes of each read
 * @param {Uint32Array} entries four words an entry: what it folds the table into
 * @param {boolean} secure over TLS
 * @returns {Promise<boolean>}
 *
 * @callback ReceiveTable
 * @param {number} fd
 * @param {Uint8Array} bytes
 * @param {Uint32Array} lengths
 * @param {Uint32Array} entries
 * @param {number} writeFd
 * @param {string} certificate PEM file of a TLS server; empty: no TLS
 * @param {string} key
 * @returns {Promise<boolean>}
 */

const folder = path.join(import.meta.dirname, 'addon');
const built = path.join(folder, 'build/Release/baseline.node');
const stamp = path.join(folder, 'build/sources.sha256');

function fingerprint() {
  const hash = createHash('sha256').update(process.version + process.arch);
  const sources = readdirSync(folder).filter((name) => name !== 'build');
  for (const name of sources.sort()) hash.update(name).update(readFileSync(path.join(folder, name)));
  for (const name of ['job.h', 'outcome.h']) hash.update(readFileSync(path.join(root, 'native', name)));
  return hash.digest('hex');
}

function build() {
  const wanted = fingerprint();
  if (existsSync(built) && existsSync(stamp) && readFileSync(stamp, 'utf8') === wanted) return;
  const target = targets[hostTarget ?? ''];
  if (target === undefined) throw new Error(`the bench has no baseline for ${process.arch}`);
  const missing = missingFor(target);
  if (missing !== undefined) throw new Error(`the bench needs ${missing} to build its baselines`);
  process.stderr.write('bench: compiling the baselines\n');
  if (!rebuild(folder, target)) throw new Error('the baselines do not compile');
  writeFileSync(stamp, wanted);
}

build();
/** @type {unknown} */
const loaded = createRequire(import.meta.url)(built);
export const addon = /** @type {Addon} */ (loaded);
