import { expect, test } from 'vitest';
import { HtabSystemError } from '../../../lib/errors.js';
import { explainRefusal } from '../../../lib/io/refusal.js';
import { EmulatedVm } from '../../../lib/vm/emulated/emulated-vm.js';
import { record, type Pair } from './model.js';

const GOOD: Pair = [0x11n, 0x190n];

/** Writes records to an emulated POWER9 host and explains the refusal. */
async function refusalOf(bytes: Uint8Array): Promise<HtabSystemError> {
  const vm = new EmulatedVm({
    host: 'power9',
    memoryRegions: [{ guestAddress: 0x10_0000n, size: 0x100_0000n, hostPageShift: 16, populated: true }],
  });
  await vm.allocateHpt(18);
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
])('%s is found among good entries, and named', async (_, bad, errnoName, hint) => {
  const refusal = await refusalOf(Buffer.concat([record(5, [GOOD]), record(10, [GOOD, GOOD, bad, GOOD])]));
  expect(refusal).toMatchObject({ errnoName, ptex: 12, recordIndex: 1, bytesApplied: 24 });
  expect(refusal.hint).toMatch(hint);
  expect(refusal.cause).toBeInstanceOf(HtabSystemError);
});

test('an error that names no record is given back as it is', async () => {
  await using handle = await new EmulatedVm().openHtab({ access: 'write' });
  const error = new HtabSystemError('write', 'EBADF', { operation: 'write HPT record' });
  expect(await explainRefusal(handle, record(5, [GOOD]), error)).toBe(error);
});
