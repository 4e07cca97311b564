import assert from 'node:assert/strict';
import { type Entry, encode, record, removal, render } from '../../lib/testing/conformance/stream.js';
import { adoptHtab, takeHtab } from '../../lib/vm/kvm/handover.js';
import { KvmVm } from '../../lib/vm/kvm/kvm-vm.js';
import { readAll } from './read-all.js';
import type { Test } from './runner.js';
import { SteppedVm } from './stepped-vm.js';
import { htabDescriptors } from './vmm.js';

/** Descriptors that vmm/launcher.c leaves to this process: of its VM, whose entry 5 it wrote. */
const INHERITED = { read: 3, write: 4, vm: 5 } as const;
const LAUNCHER_ENTRY: Entry = [0x51n, 0x190n];

/** The ways a guest's descriptors come here, and what becomes of them without its VMM. */
export function descriptorsSuite(test: Test): void {
  test('an inherited descriptor works, also after a duplicate of it was adopted and closed (11 #22)', async () => {
    const duplicate = await adoptHtab(INHERITED.read, { duplicate: true });
    assert.equal(duplicate.access, 'read');
    const lines = render(encode(removal(0, 5), record(5, [LAUNCHER_ENTRY], 16_378)));
    assert.deepEqual(await readAll(duplicate), lines);
    await duplicate.close();
    await using writer = await adoptHtab(INHERITED.write, { duplicate: true });
    assert.equal(writer.access, 'write');
    await writer.write(encode(record(7, [[0x1n, 0x190n]])));
    await using reader = await adoptHtab(INHERITED.read, { duplicate: true });
    assert.deepEqual(await readAll(reader), render(encode(record(7, [[0x41n, 0x190n]]))));
  });

  test('a descriptor taken from another process by its number shares its cursor', async () => {
    const [fd] = htabDescriptors(process.ppid).filter(({ access }) => access === 'read');
    assert.ok(fd);
    await using inherited = await adoptHtab(INHERITED.read, { duplicate: true });
    await readAll(inherited);
    await using taken = await takeHtab({ pid: process.ppid, fd: fd.number });
    assert.equal(taken.access, 'read');
    assert.deepEqual(await readAll(taken), []);
    await assert.rejects(takeHtab({ pid: process.ppid, fd: 999 }), { errnoName: 'EBADF' });
  });

  test('every ioctl on the VM descriptor of another process is EIO (11 #22)', async () => {
    await using vm = await KvmVm.fromFd(INHERITED.vm, { duplicate: true, hptOrder: 18 });
    await assert.rejects(vm.openHtab(), { errnoName: 'EIO', syscall: 'KVM_PPC_GET_HTAB_FD' });
    await assert.rejects(vm.allocateHpt(18), { errnoName: 'EIO', syscall: 'KVM_PPC_ALLOCATE_HTAB' });
    await assert.rejects(vm.checkExtension(84), { errnoName: 'EIO', syscall: 'KVM_CHECK_EXTENSION' });
  });

  test('descriptors go on working when their VMM is killed', async () => {
    const vm = await SteppedVm.create();
    await vm.allocateHpt(18);
    await using reader = await vm.openHtab();
    await using writer = await vm.openHtab({ access: 'write' });
    await readAll(reader);
    const reading = Promise.all(Array.from({ length: 50 }, () => reader.read(new Uint8Array(4096))));
    await vm.vmm.kill();
    assert.ok((await reading).every((bytes) => bytes === 0));
    await writer.write(encode(record(3, [[0x1n, 0x190n]])));
    assert.deepEqual(await readAll(reader), render(encode(record(3, [[0x41n, 0x190n]]))));
  });
}
