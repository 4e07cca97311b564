// The guest's file system: archives laid over each other. The large ones, Node and QEMU, are packed once and kept.
import { createReadStream, createWriteStream, existsSync } from 'node:fs';
import { readdir, readFile, rename, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { fileURLToPath } from 'node:url';
import { createGzip } from 'node:zlib';
import { cpio, folderEntry, linkEntry, MODE, treeEntries } from './cpio.mjs';

/** Largest initramfs QEMU's powernv machines take. */
const LIMIT_BYTES = 128 * 2 ** 20;

/**
 * @param {Parameters<typeof cpio>[0]} entries
 * @param {string} file
 */
export async function pack(entries, file) {
  await pipeline(Readable.from(cpio(entries)), createGzip({ level: 1 }), createWriteStream(`${file}.part`));
  await rename(`${file}.part`, file);
}

/** @param {string} root */
async function* baseEntries(root) {
  yield* treeEntries(root, '');
  for (const name of ['dev', 'proc', 'sys', 'tmp', 'app', 'modules']) yield folderEntry(name);
  yield linkEntry('sbin', 'bin');
  // Without it the kernel starts /init with no standard streams.
  yield { path: 'dev/console', mode: MODE.terminal, device: /** @type {[number, number]} */ ([5, 1]) };
}

/**
 * A root folder with QEMU in it, and the kernel of its guests.
 *
 * @param {string} root
 * @param {string} kernel
 */
async function* qemuEntries(root, kernel) {
  yield* treeEntries(root, 'qemu');
  for (const name of ['dev', 'proc', 'sys', 'tmp', 'app', 'boot']) yield folderEntry(`qemu/${name}`);
  yield { path: 'qemu/boot/vmlinux', mode: MODE.file, data: await readFile(join(kernel, 'vmlinux')) };
}

/**
 * @param {string} kernel
 * @param {string} app
 */
async function* runEntries(kernel, app) {
  const init = await readFile(join(dirname(fileURLToPath(import.meta.url)), 'init'));
  yield { path: 'init', mode: MODE.program, data: init };
  for (const name of await readdir(kernel)) {
    if (name.includes('.ko'))
      yield { path: `modules/${name}`, mode: MODE.file, data: await readFile(join(kernel, name)) };
  }
  yield* treeEntries(app, 'app');
}

/**
 * @param {{ cache: string, root: string, kernel: string, app: string, qemu?: string, file: string }} parts folders of the
 *   cache, of the root file system, of the kernel, of what is to stand in /app and in /qemu; the initramfs to write
 */
export async function buildInitramfs({ cache, root, kernel, app, qemu, file }) {
  const base = join(cache, 'base.cpio.gz');
  if (!existsSync(base)) await pack(baseEntries(root), base);
  const kept = [base];
  if (qemu !== undefined) {
    const packed = `${qemu}.cpio.gz`;
    if (!existsSync(packed)) await pack(qemuEntries(qemu, kernel), packed);
    kept.push(packed);
  }
  await pack(runEntries(kernel, app), `${file}.run`);
  await pipeline(concatenate([...kept, `${file}.run`]), createWriteStream(file));
  const { size } = await stat(file);
  if (size > LIMIT_BYTES)
    throw new Error(`${file} has ${size} bytes; the machine takes no more than ${LIMIT_BYTES}`);
}

/** @param {readonly string[]} files */
async function* concatenate(files) {
  for (const file of files) yield* /** @type {AsyncIterable<Buffer>} */ (createReadStream(file));
}
