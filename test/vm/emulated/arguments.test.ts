import { describe, expect, test } from 'vitest';
import { encode, record } from '../../../lib/testing/conformance/stream.js';
import type { HtabHandle } from '../../../lib/vm/contract.js';
import { EmulatedVm } from '../../../lib/vm/emulated/emulated-vm.js';

const badType: unknown = expect.objectContaining({ name: 'TypeError', code: 'ERR_INVALID_ARG_TYPE' });
const badValue: unknown = expect.objectContaining({ name: 'TypeError', code: 'ERR_INVALID_ARG_VALUE' });
const outOfRange: unknown = expect.objectContaining({ name: 'RangeError', code: 'ERR_OUT_OF_RANGE' });

async function machine(): Promise<EmulatedVm> {
  const vm = new EmulatedVm();
  await vm.allocateHpt(18);
  return vm;
}

test.each([Number.NaN, 18.5, '18', -1, 2 ** 32, undefined])(
  'order %o is none that the resize ioctls can be told',
  async (order) => {
    const vm = await machine();
    await expect(vm.prepareHptResize(order as number)).rejects.toEqual(outOfRange);
    await expect(vm.commitHptResize(order as number)).rejects.toEqual(outOfRange);
  },
);

test.each([1, 17, 47, 2 ** 32 - 1])('order %i is the kernel’s to refuse (5.2, 5.3)', async (order) => {
  const vm = await machine();
  await expect(vm.prepareHptResize(order)).rejects.toMatchObject({ errnoName: 'EINVAL' });
  await expect(vm.commitHptResize(order)).rejects.toMatchObject({ errnoName: 'EINVAL' });
});

test.each(['rw', '', null, 2])('a descriptor is not opened for %o', async (access) => {
  const vm = await machine();
  await expect(vm.openHtab({ access: access as 'read' })).rejects.toEqual(badValue);
});

test.each(['Radix', 'hpt', undefined])('the MMU is not switched to %o: the table stays', async (mode) => {
  const vm = await machine();
  await expect(vm.configureMmu(mode as 'radix')).rejects.toEqual(badValue);
  expect(vm.hptOrder).toBe(18);
});

test.each([-1, 1, 0.5, undefined])(
  'there is no memory region %o whose dirty log could be taken',
  async (slot) => {
    const vm = await machine();
    expect(() => vm.getDirtyLog(slot as number)).toThrow(outOfRange);
  },
);

describe('the bytes of a call', () => {
  const calls = [
    ['read', 'read', (handle: HtabHandle, bytes: Uint8Array) => handle.read(bytes)],
    ['write', 'write', (handle: HtabHandle, bytes: Uint8Array) => handle.write(bytes)],
    ['writeRecords', 'write', (handle: HtabHandle, bytes: Uint8Array) => handle.writeRecords(bytes)],
  ] as const;

  const someBytes = (): Uint8Array<ArrayBuffer> => new Uint8Array(encode(record(5, [[0x11n, 0x190n]])));

  test.each(calls)('%s takes nothing but a Uint8Array', async (_, access, call) => {
    await using handle = await (await machine()).openHtab({ access });
    for (const bytes of [undefined, null, 'bytes', 100, new ArrayBuffer(100), new Uint16Array(50)]) {
      await expect(call(handle, bytes as unknown as Uint8Array)).rejects.toEqual(badType);
    }
  });

  test.each(calls)('%s refuses memory that was transferred away before its turn', async (_, access, call) => {
    const vm = await machine();
    await using handle = await vm.openHtab({ access });
    const bytes = someBytes();
    const result = call(handle, bytes);
    structuredClone(bytes, { transfer: [bytes.buffer] });
    await expect(result).rejects.toEqual(badValue);
    await expect(call(handle, bytes)).rejects.toEqual(badValue);
    expect(vm.table!.validCount).toBe(0);
  });

  test.each(calls)('%s may be given none', async (_, access, call) => {
    await using handle = await (await machine()).openHtab({ access });
    expect(await call(handle, new Uint8Array(0))).toBe(0);
  });
});
