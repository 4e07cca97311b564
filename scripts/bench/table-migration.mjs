// The migration of a table, each side by the library and by the C++ baseline. The descriptors are the same for both: reading
// costs a copy, writing a write(2) to /dev/null per record.
import { closeSync, constants, openSync } from 'node:fs';
import { addon } from './baseline.mjs';
import { BaseHandle, KvmHandle, loadAddon, receiveHpt, sendHpt } from './library.mjs';
import { full, grouped, scattered } from './patterns.mjs';
import { readTable, tableWith } from './tables.mjs';

const ORDER = 26;
const ENTRY_COUNT = 2 ** (ORDER - 4);

export const PATTERNS = { '1 % random': scattered(0.01), '12.5 %': grouped(0.125), full };

/**
 * @typedef {keyof typeof PATTERNS} PatternName
 * @typedef {'send' | 'receive'} Role
 * @typedef {{ certificate: string, key: string }} Identity PEM files of a TLS server
 */

/** Gives a stream read by read, then nothing. */
class Source extends BaseHandle {
  #reads;

  /** @param {readonly Uint8Array[]} reads */
  constructor(reads) {
    super('read');
    this.#reads = reads.values();
  }

  /** @override @param {Uint8Array} buffer */
  readOnce(buffer) {
    const { value } = this.#reads.next();
    if (value === undefined) return 0;
    buffer.set(value);
    return value.length;
  }

  /** @override @returns {number} */
  writeOnce() {
    throw new Error('a read descriptor');
  }

  /** @override */
  closeOnce() {
    // It has nothing to close.
  }
}

const openNull = () => openSync('/dev/null', constants.O_WRONLY);

export class TableMigration {
  #reads;
  #validCount;
  #bytes;
  #lengths;
  /** What the baseline folds the table into. */
  #entries = {
    send: new Uint32Array(ENTRY_COUNT * 4),
    receive: new Uint32Array(ENTRY_COUNT * 4),
  };

  /** @param {PatternName} pattern */
  constructor(pattern) {
    const table = tableWith(ORDER, PATTERNS[pattern](ENTRY_COUNT));
    /** @type {Buffer[]} */
    const reads = [];
    readTable(table, true, (bytes) => reads.push(Buffer.from(bytes)));
    this.#reads = reads;
    this.#validCount = table.validCount;
    this.#bytes = Buffer.concat(reads);
    this.#lengths = Uint32Array.from(reads, ({ length }) => length);
  }

  /** @param {Role} role @param {import('node:stream').Duplex} channel */
  async byLibrary(role, channel) {
    const { validEntries } = await (role === 'send' ? this.#send(channel) : this.#receive(channel));
    if (validEntries !== this.#validCount) throw new Error(`${validEntries} entries were moved`);
  }

  /** @param {import('node:stream').Duplex} channel */
  #send(channel) {
    const stand = () => Promise.resolve();
    const source = { handle: new Source(this.#reads), order: ORDER };
    return sendHpt(source, channel, { pause: stand, resume: stand, host: 'power9' });
  }

  /** @param {import('node:stream').Duplex} channel */
  async #receive(channel) {
    const native = loadAddon();
    const handle = new KvmHandle(native, await native.adopt(openNull(), false), 'write');
    const openRead = () => Promise.resolve(new Source(this.#reads));
    return receiveHpt({ handle, order: ORDER, openRead }, channel, { host: 'power9' });
  }

  /** @param {Role} role @param {number} fd @param {Identity} [identity] */
  async byBaseline(role, fd, identity) {
    const table = /** @type {const} */ ([fd, this.#bytes, this.#lengths, this.#entries[role]]);
    if (role === 'send') {
      if (!(await addon.sendTable(...table, identity !== undefined))) throw new Error('the source fails');
      return;
    }
    const writeFd = openNull();
    const { certificate = '', key = '' } = identity ?? {};
    const agreed = await addon.receiveTable(...table, writeFd, certificate, key);
    closeSync(writeFd);
    if (!agreed) throw new Error('the destination fails');
  }
}
