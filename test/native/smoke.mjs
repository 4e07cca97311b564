// Every function of the addon once, in plain Node: for valgrind, for prebuilt addons, and for machines without a test
// runner. Ends by itself.
//
//   node test/native/smoke.mjs [FOLDER]    the folder whose addon is loaded; default this checkout
import assert from 'node:assert/strict';
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { constants, tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

const { EAGAIN, EBADF, EINVAL, ENOENT, ENOSPC, ENOTTY } = constants.errno;
const require = createRequire(import.meta.url);
const root = process.argv[2] ?? fileURLToPath(new URL('../..', import.meta.url));
/** @typedef {import('../../lib/vm/kvm/addon.js').Addon} Addon */
/** @type {unknown} */
const gypBuild = require('node-gyp-build');
const load = /** @type {(folder: string) => Addon} */ (gypBuild);
const addon = load(path.resolve(root));

const folder = mkdtempSync(path.join(tmpdir(), 'kvm-htab-smoke-'));
const file = path.join(folder, 'file');
/** @param {string} name @param {string} flags */
const adopt = (name, flags) => addon.adopt(openSync(name, flags), false);

// read and write
writeFileSync(file, 'abcdef');
const reader = await adopt(file, 'r');
const buffer = new Uint8Array(4);
assert.equal(await addon.read(reader, buffer), 4);
assert.equal(Buffer.from(buffer).toString(), 'abcd');
await assert.rejects(addon.write(reader, buffer), { errno: EBADF, syscall: 'write' });
assert.equal((await addon.inspectFile(reader)).name, file);
assert.throws(() => addon.read(reader, new Uint8Array(new SharedArrayBuffer(4))), TypeError);

// whole records, from any alignment
const records = new Uint8Array(1 + 8 + 24).subarray(1);
records[8 + 4] = 1;
const writer = await adopt(file, 'w');
assert.deepEqual(await addon.writeRecords(writer, records), { bytesApplied: 32, recordsApplied: 2 });
assert.deepEqual(await addon.writeRecords(writer, records.subarray(0, 31)), {
  bytesApplied: 0,
  recordsApplied: 0,
  cut: { byteOffset: 8, recordIndex: 1 },
});
assert.equal(readFileSync(file).length, 32);
const full = await adopt('/dev/full', 'w');
await assert.rejects(addon.writeRecords(full, records), {
  ...{ errno: ENOSPC, syscall: 'write' },
  ...{ ptex: 0, recordIndex: 0, bytesApplied: 0 },
});

// descriptors from elsewhere
const fd = openSync(file, 'r');
const taken = await addon.takeDescriptor(process.pid, fd).catch((/** @type {unknown} */ error) => error);
// Emulated machines and containers may not have the call; on others it gives a descriptor.
if (!(taken instanceof Error)) await /** @type {typeof reader} */ (taken).close();
const duplicate = await addon.adopt(fd, true);
closeSync(fd);
await assert.rejects(addon.adopt(fd, true), { errno: EBADF });
assert.equal(await addon.adopt(0, true, 'a name that no file has').then((name) => typeof name), 'string');
await (await addon.duplicate(duplicate)).close();

// a descriptor over a socket, and nothing more after it
const socket = path.join(folder, 'socket');
await assert.rejects(addon.connect(socket), { errno: ENOENT, syscall: 'connect' });
const listener = await addon.listen(socket);
await assert.rejects(addon.offer(listener, duplicate), { errno: EAGAIN, syscall: 'accept4' });
const peer = await addon.connect(socket);
await assert.rejects(addon.receive(peer), { errno: EAGAIN, syscall: 'recvmsg' });
assert.equal(await addon.send(peer, Buffer.from('hello')), 5);
await addon.offer(listener, duplicate);
const { descriptors, text } = await addon.receive(peer);
assert.deepEqual([descriptors.length, text], [1, '\n']);
assert.equal((await addon.inspectFile(/** @type {typeof reader} */ (descriptors[0]))).name, file);
await Promise.all([...descriptors, listener, peer].map((each) => each.close()));

// KVM, as far as it is there
await assert.rejects(addon.openKvm(path.join(folder, 'kvm')), { errno: ENOENT, syscall: 'open' });
/** @type {[syscall: string, call: Promise<unknown>, errno: number][]} */
const refusals = [
  ['KVM_GET_API_VERSION', addon.getApiVersion(reader), ENOTTY],
  ['KVM_CHECK_EXTENSION', addon.checkExtension(reader, 84), ENOTTY],
  ['KVM_CREATE_VM', addon.createVm(reader, 0), ENOTTY],
  ['KVM_PPC_ALLOCATE_HTAB', addon.allocateHtab(reader, 0), EINVAL],
  ['KVM_PPC_ALLOCATE_HTAB', addon.allocateHtab(reader, 18), ENOTTY],
  ['KVM_PPC_GET_HTAB_FD', addon.getHtabFd(reader, 0, 0), ENOTTY],
  ['KVM_PPC_RESIZE_HPT_PREPARE', addon.prepareHptResize(reader, 18), ENOTTY],
  ['KVM_PPC_RESIZE_HPT_COMMIT', addon.commitHptResize(reader, 18), ENOTTY],
  ['KVM_PPC_CONFIGURE_V3_MMU', addon.configureV3Mmu(reader, 0, 0n), ENOTTY],
  ['KVM_PPC_GET_SMMU_INFO', addon.getSmmuInfo(reader, new Uint8Array(592)), ENOTTY],
  ['KVM_PPC_GET_SMMU_INFO', addon.getSmmuInfo(reader, new Uint8Array(591)), EINVAL],
];
await Promise.all(refusals.map(([syscall, call, errno]) => assert.rejects(call, { syscall, errno })));

// closing under a call, and leaving one open for the end of the process
const reading = addon.read(reader, new Uint8Array(1 << 16));
await Promise.all([reading, reader.close(), writer.close(), full.close(), duplicate.close()]);
assert.throws(() => addon.read(reader, buffer), /closed/);
await adopt('/dev/null', 'r');

rmSync(folder, { recursive: true });
process.stdout.write(
  `smoke: the addon works (${process.platform}-${process.arch}, Node ${process.versions.node})\n`,
);
