import { pipeline } from 'node:stream/promises';
import { expect, test } from 'vitest';
import { compareTables } from '../../lib/hpt/compare.js';
import { createReadStream } from '../../lib/io/read-stream.js';
import { createWriteStream } from '../../lib/io/write-stream.js';
import { EmulatedVm } from '../../lib/vm/emulated/emulated-vm.js';

test('createReadStream pipes a VM’s table into createWriteStream of another', async () => {
  const [source, target] = [new EmulatedVm(), new EmulatedVm()];
  for (const vm of [source, target]) await vm.allocateHpt(18);
  for (let ptex = 0; ptex < 16_384; ptex += 3) source.table!.set(ptex, 0x1051n, BigInt(ptex) << 12n);
  await pipeline(createReadStream(source), createWriteStream(target));
  expect(target.table!.validCount).toBe(5462);
  expect(compareTables(source.table!, target.table!).count).toBe(0);
});
