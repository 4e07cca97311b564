// The archive format of an initramfs ("newc"), written without a staging folder and without root.
import { lstat, readdir, readFile, readlink } from 'node:fs/promises';
import { join } from 'node:path';

/**
 * One thing in the archive. Folders are made for their own sake: the kernel does not add those a path passes through.
 *
 * @typedef {{ path: string, mode: number, data?: Uint8Array, device?: [major: number, minor: number] }} Entry
 */

export const MODE = /** @type {const} */ ({
  folder: 0o040755,
  program: 0o100755,
  file: 0o100644,
  link: 0o120777,
  terminal: 0o020600,
});

/**
 * @param {string} path in the archive, no leading slash
 * @returns {Entry}
 */
export const folderEntry = (path) => ({ path, mode: MODE.folder });

/**
 * @param {string} path
 * @param {string} target
 * @returns {Entry}
 */
export const linkEntry = (path, target) => ({ path, mode: MODE.link, data: Buffer.from(target) });

/**
 * A folder of this machine, with all that is in it.
 *
 * @param {string} from
 * @param {string} path where it stands in the archive; '' for its root
 * @returns {AsyncGenerator<Entry>}
 */
export async function* treeEntries(from, path) {
  if (path !== '') yield folderEntry(path);
  for (const name of (await readdir(from)).sort()) {
    const source = join(from, name);
    const target = path === '' ? name : `${path}/${name}`;
    const status = await lstat(source);
    if (status.isDirectory()) yield* treeEntries(source, target);
    else if (status.isSymbolicLink()) yield linkEntry(target, await readlink(source));
    else {
      const mode = status.mode & 0o111 ? MODE.program : MODE.file;
      yield { path: target, mode, data: await readFile(source) };
    }
  }
}

/**
 * @param {AsyncIterable<Entry> | Iterable<Entry>} entries
 * @returns {AsyncGenerator<Buffer>} the archive's bytes
 */
export async function* cpio(entries) {
  let inode = 1;
  for await (const entry of entries) yield* member(entry, inode++);
  yield* member({ path: 'TRAILER!!!', mode: 0 }, 0);
}

/**
 * @param {Entry} entry
 * @param {number} inode
 */
function* member(entry, inode) {
  const data = entry.data ?? new Uint8Array(0);
  const name = Buffer.from(`${entry.path}\0`);
  const [major, minor] = entry.device ?? [0, 0];
  // magic, then: inode, mode, uid, gid, links, mtime, size, major, minor of the file system, of the device, name size, checksum
  const fields = [inode, entry.mode, 0, 0, 1, 0, data.length, 0, 0, major, minor, name.length, 0];
  const header = `070701${fields.map((field) => field.toString(16).padStart(8, '0')).join('')}`;
  yield padded(Buffer.concat([Buffer.from(header), name]));
  if (data.length > 0) yield padded(data);
}

/**
 * @param {Uint8Array} bytes
 * @returns {Buffer} filled up with zeros to a multiple of four
 */
const padded = (bytes) => Buffer.concat([bytes, new Uint8Array(-bytes.length & 3)]);
