import { describe, expect, test } from 'vitest';
import { FaultScript } from '../../lib/testing/faults.js';
import { encode, run } from '../../lib/testing/conformance/stream.js';
import { tableOf, read, failure } from './faulty-tables.js';

describe('states', () => {
  test('while the guest runs, writing and allocating are EBUSY and reading goes on', async () => {
    const script = new FaultScript();
    const vm = script.wrapVm(await tableOf(18));
    const writer = await vm.openHtab({ access: 'write' });
    const reader = await vm.openHtab();
    script.running = true;
    await expect(writer.write(encode(run(0, 1)))).rejects.toMatchObject(failure('EBUSY', 'write'));
    await expect(writer.writeRecords(encode(run(0, 1)))).rejects.toMatchObject(failure('EBUSY', 'write'));
    await expect(vm.allocateHpt(18)).rejects.toMatchObject(failure('EBUSY', 'KVM_PPC_ALLOCATE_HTAB'));
    await expect(reader.write(encode(run(0, 1)))).rejects.toMatchObject(failure('EBADF', 'write'));
    expect(await read(reader)).toEqual(['{0,0,16384}']);
    script.running = false;
    expect(await writer.write(encode(run(0, 1)))).toBe(24);
  });

  test('a radix guest reads 0 without using up the first pass, and refuses writes and resizes', async () => {
    const script = new FaultScript();
    const vm = script.wrapVm(await tableOf(18));
    const writer = await vm.openHtab({ access: 'write' });
    const reader = await vm.openHtab();
    script.radix = true;
    expect(vm.hptOrder).toBeUndefined();
    expect(await read(reader)).toEqual([]);
    await expect(writer.write(new Uint8Array(0))).rejects.toMatchObject(failure('EINVAL', 'write'));
    await expect(vm.prepareHptResize(19)).rejects.toMatchObject(
      failure('EINVAL', 'KVM_PPC_RESIZE_HPT_PREPARE'),
    );
    await expect(vm.commitHptResize(19)).rejects.toMatchObject(
      failure('EINVAL', 'KVM_PPC_RESIZE_HPT_COMMIT'),
    );
    await vm.allocateHpt(19);
    expect(script.radix).toBe(false);
    expect(await read(reader)).toEqual(['{0,0,32768}']);
  });
});

describe('what the script says of a call goes before the state of the guest', () => {
  test('of a radix guest: it is refused as it says, and stays one', async () => {
    const script = new FaultScript([
      { kind: 'errno', call: 'read', errno: 'EIO' },
      { kind: 'answer', call: 'write', result: 24 },
      { kind: 'errno', call: 'prepareHptResize', errno: 'ENOMEM' },
      { kind: 'errno', call: 'commitHptResize', errno: 'ENXIO' },
      { kind: 'errno', call: 'allocateHpt', errno: 'ENOMEM' },
    ]);
    const vm = script.wrapVm(await tableOf(18));
    const reader = await vm.openHtab();
    const writer = await vm.openHtab({ access: 'write' });
    script.radix = true;
    await expect(read(reader)).rejects.toMatchObject(failure('EIO', 'read'));
    expect(await writer.write(encode(run(0, 1)))).toBe(24);
    await expect(vm.prepareHptResize(19)).rejects.toMatchObject({ errnoName: 'ENOMEM' });
    await expect(vm.commitHptResize(19)).rejects.toMatchObject({ errnoName: 'ENXIO' });
    await expect(vm.allocateHpt(18)).rejects.toMatchObject({ errnoName: 'ENOMEM' });
    expect(script.radix).toBe(true);
    expect(script.struck).toHaveLength(5);
    await expect(writer.write(encode(run(0, 1)))).rejects.toMatchObject(failure('EINVAL', 'write'));
  });

  test('of a running one', async () => {
    const script = new FaultScript([
      { kind: 'errno', call: 'write', errno: 'EIO' },
      { kind: 'errno', call: 'allocateHpt', errno: 'ENOMEM' },
    ]);
    const vm = script.wrapVm(await tableOf(18));
    const writer = await vm.openHtab({ access: 'write' });
    script.running = true;
    await expect(writer.write(encode(run(0, 1)))).rejects.toMatchObject(failure('EIO', 'write'));
    await expect(vm.allocateHpt(18)).rejects.toMatchObject({ errnoName: 'ENOMEM' });
    await expect(vm.allocateHpt(18)).rejects.toMatchObject({ errnoName: 'EBUSY' });
  });
});
