import { readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { describe, expect, test } from 'vitest';
import { readSnapshot } from '../../lib/snapshot/read.js';
import { saveSnapshot } from '../../lib/snapshot/save.js';
import { scratchFiles, scratchFolder } from '../scratch.js';
import { busyVm, frameOffsets } from './support.js';

const root = scratchFolder();
const scratch = scratchFiles();

describe('readSnapshot', () => {
  test('rejects with a typed error where the file is missing or not a regular file', async () => {
    await expect(readSnapshot(path.join(root, 'none'))).rejects.toMatchObject({
      code: 'ERR_HTAB_SYSTEM',
      errnoName: 'ENOENT',
    });
    await expect(readSnapshot('/dev/zero')).rejects.toMatchObject({ code: 'ERR_HTAB_FORMAT' });
    await expect(readSnapshot(root)).rejects.toMatchObject({ code: 'ERR_HTAB_FORMAT' });
  });

  test('names the place where a file is cut, or goes on after its end', async () => {
    const { vm } = await busyVm();
    const file = scratch('table');
    await saveSnapshot(vm, file);
    const bytes = readFileSync(file);
    for (const length of [0, 7, 16, 100, bytes.length - 200, bytes.length - 1]) {
      writeFileSync(file, bytes.subarray(0, length));
      await expect(readSnapshot(file)).rejects.toMatchObject({
        code: 'ERR_HTAB_FORMAT',
        byteOffset: frameOffsets(bytes).findLast((offset) => offset <= length),
      });
    }
    writeFileSync(file, Buffer.concat([bytes, Buffer.from('x')]));
    await expect(readSnapshot(file)).rejects.toMatchObject({ byteOffset: bytes.length });
  });

  test('rejects with the reason of an abort', async () => {
    const { vm } = await busyVm();
    const file = scratch('table');
    await saveSnapshot(vm, file);
    const reason = new Error('enough');
    await expect(readSnapshot(file, { signal: AbortSignal.abort(reason) })).rejects.toBe(reason);
  });
});
