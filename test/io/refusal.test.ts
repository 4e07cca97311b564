import { describe, expect, test } from 'vitest';
import { HtabSystemError } from '../../lib/base/errors.js';
import { explainRefusal } from '../../lib/io/refusal.js';
import { EmulatedVm } from '../../lib/vm/emulated/emulated-vm.js';
import { record, type Pair } from './wire-records.js';

const GOOD: Pair = [0x11n, 0x190n];

/** A VM of an emulated POWER9 host, with a table of order 18. */
async function power9(): Promise<EmulatedVm> {
  const vm = new EmulatedVm({
    host: 'power9',
    memoryRegions: [{ guestAddress: 0x10_0000n, size: 0x100_0000n, hostPageShift: 16, populated: true }],
  });
  await vm.allocateHpt(18);
  return vm;
}

/** Writes records and explains the refusal. */
async function refusalOf(bytes: Uint8Array, vm: EmulatedVm): Promise<HtabSystemError> {
  await using handle = await vm.openHtab({ access: 'write' });
  const error = await handle.writeRecords(bytes).catch((refusal: unknown) => refusal);
  if (!(error instanceof HtabSystemError)) throw new Error('nothing was refused');
  return await explainRefusal(handle, bytes, error);
}

test.each<[string, Pair, string, RegExp]>([
  ['a page-size code no kernel accepts', [0x15n, 0x5_5190n], 'EINVAL', /page-size code 0x55/],
  ['an entry that is not valid', [0x10n, 0x190n], 'EINVAL', /not marked valid/],
  ['a reserved segment size', [0x8000_0000_0000_0011n, 0x190n], 'EIO', /segment size code 2.*is gone/],
  [
    'a page larger than its memory slot allows',
    [0x15n, 0x100_0190n],
    'EIO',
    /16M page at guest address 0x1000000: .*memory slot/,
  ],
])('explainRefusal finds %s among good entries', async (_, bad, errnoName, hint) => {
  const refusal = await refusalOf(
    Buffer.concat([record(5, [GOOD]), record(10, [GOOD, GOOD, bad, GOOD])]),
    await power9(),
  );
  expect(refusal).toMatchObject({ errnoName, ptex: 12, recordIndex: 1, bytesApplied: 24 });
  expect(refusal.hint).toMatch(hint);
  expect(refusal.cause).toBeInstanceOf(HtabSystemError);
});

test('explainRefusal returns an error that names no record unchanged', async () => {
  await using handle = await new EmulatedVm().openHtab({ access: 'write' });
  const error = new HtabSystemError('write', 'EBADF', { operation: 'write HPT record' });
  expect(await explainRefusal(handle, record(5, [GOOD]), error)).toBe(error);
});

describe('a record that ends beyond the table is EINVAL, and changes no entry (4.2)', () => {
  test.each<[string, Uint8Array, number]>([
    ['to remove entries', record(16_376, [], 20), 16_384],
    ['to enter some', record(16_382, [GOOD, GOOD, GOOD, GOOD]), 16_384],
    ['with bad entries besides', record(16_376, [GOOD, [0x10n, 0n]], 7), 16_384],
    ['from its end on', record(16_384, [GOOD]), 16_384],
    ['from far behind', record(0xffff_ffff, [GOOD, GOOD]), 0xffff_ffff],
    ['without an entry of its own', record(20_000, []), 20_000],
  ])('%s', async (_, bytes, ptex) => {
    const vm = await power9();
    await using handle = await vm.openHtab({ access: 'write' });
    await handle.writeRecords(record(16_376, new Array<Pair>(8).fill([0x11n, 0x110n])));
    await using reader = await vm.openHtab({ startIndex: 16_376 });
    const before = Buffer.alloc(4096);
    await reader.read(before);
    const refusal = await refusalOf(bytes, vm);
    expect(refusal).toMatchObject({ errnoName: 'EINVAL', ptex, hint: 'the table ends before ptex 16384' });
    expect(await reader.read(Buffer.alloc(4096))).toBe(0);
    await using again = await vm.openHtab({ startIndex: 16_376 });
    const after = Buffer.alloc(4096);
    await again.read(after);
    expect(after).toEqual(before);
  });

  test('is explained where the VM has no table', async () => {
    const refusal = await refusalOf(record(5, [GOOD]), new EmulatedVm());
    expect(refusal).toMatchObject({
      ptex: 5,
      hint: 'there is no table: the VM has none, or its MMU is radix',
    });
  });
});
