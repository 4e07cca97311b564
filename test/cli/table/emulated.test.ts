import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { describe, expect, test, vi } from 'vitest';
import { parseEmulatedSpec } from '../../../lib/cli/table/emulated-spec.js';
import { openForReading, openForWriting } from '../../../lib/cli/table/open.js';
import { digestTable } from '../../../lib/hpt/digest.js';
import { saveSnapshot } from '../../../lib/snapshot/save.js';
import type { EmulatedVm } from '../../../lib/vm/emulated/emulated-vm.js';
import { scratchFolder } from '../../scratch.js';

const folder = scratchFolder();

const SPEC = parseEmulatedSpec('', 'source');

describe('an emulated VM', () => {
  test('without a word about it has a guest that has worked, and stands still', async () => {
    const source = await openForReading({ emulated: SPEC });
    expect(source).toMatchObject({ name: 'an emulated VM', order: 24, host: 'power9', control: undefined });
    const { table } = source.table as EmulatedVm;
    expect(table!.validCount).toBeGreaterThan(1000);
    await source.close();
  });

  test('is the same for the same seed, and another for another', async () => {
    const digests = await Promise.all(
      ['seed=5', 'seed=5', 'seed=6', 'seed=5,steps=100'].map(async (spec) => {
        const source = await openForReading({ emulated: parseEmulatedSpec(`order=18,${spec}`, 'source') });
        return digestTable((source.table as EmulatedVm).table!);
      }),
    );
    expect(digests[0]).toBe(digests[1]);
    expect(new Set(digests).size).toBe(3);
  });

  test('with a rate has a guest that goes on, and can be stopped', async () => {
    const source = await openForReading({ emulated: parseEmulatedSpec('order=18,rate=100000', 'source') });
    const emulated = source.table as EmulatedVm;
    expect(emulated.runningVcpus).toBe(1);
    await source.control!.pause();
    expect(emulated.runningVcpus).toBe(0);
    await source.control!.resume();
    expect(emulated.runningVcpus).toBe(1);
    await source.close();
    await vi.waitFor(() => {
      expect(emulated.runningVcpus).toBe(0);
    }, 30_000);
  });

  test('takes its table from an image of its memory, or from a snapshot, as it is', async () => {
    const image = Buffer.alloc(1 << 18);
    image.writeBigUInt64BE(0x11n, 16 * 700);
    image.writeBigUInt64BE(0x5190n, 16 * 700 + 8);
    const file = path.join(folder, 'image');
    writeFileSync(file, image);
    const source = await openForReading({ emulated: parseEmulatedSpec(`file=${file}`, 'source') });
    const { table } = source.table as EmulatedVm;
    expect(source.order).toBe(18);
    expect([table!.validCount, table!.get(700)]).toEqual([1, { v: 0x51n, r: 0x5190n }]);

    const snapshot = path.join(folder, 'snapshot');
    const { digest } = await saveSnapshot(source.table as EmulatedVm, snapshot);
    const copy = await openForReading({ emulated: parseEmulatedSpec(`file=${snapshot}`, 'source') });
    expect(digestTable((copy.table as EmulatedVm).table!)).toBe(digest);
    const busy = await openForReading({
      emulated: parseEmulatedSpec(`file=${snapshot},steps=500`, 'source'),
    });
    expect((busy.table as EmulatedVm).table!.validCount).toBeGreaterThan(50);
  });

  test.each([0, 1, (1 << 18) - 16, (1 << 18) + 16, 1 << 17])('takes no image of %i bytes', async (bytes) => {
    const file = path.join(folder, 'odd');
    writeFileSync(file, Buffer.alloc(bytes));
    await expect(openForReading({ emulated: parseEmulatedSpec(`file=${file}`, 'source') })).rejects.toThrow(
      bytes === 0 ? 'it is empty' : `it has ${bytes} bytes; a table has 2^18 to 2^36, a power of two`,
    );
  });

  test('that is a target has no table yet, and takes any', async () => {
    const target = await openForWriting({ emulated: parseEmulatedSpec('host=power8', 'target') });
    expect(target).toMatchObject({ order: undefined, host: 'power8' });
    expect((target.table as EmulatedVm).hptOrder).toBeUndefined();
    await target.close();
  });
});
