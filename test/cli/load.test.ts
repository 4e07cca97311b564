import { readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { describe, expect, test } from 'vitest';
import { reportFields } from '../../lib/cli/report/json.js';
import { readSnapshot } from '../../lib/snapshot/read.js';
import { scratchFolder } from '../scratch.js';
import { execute, json } from './execute.js';

const root = scratchFolder();

describe('kvm-htab load', () => {
  const file = path.join(root, 'loaded.snap');

  test('loads what was saved, reads it back, and says so', async () => {
    expect((await execute('save', '--quiet', '--emulated=order=19,seed=8', file)).code).toBe(0);
    const { info } = await readSnapshot(file);
    const { code, stdout, stderr } = await execute('load', '--emulated', '--read-back', file);
    expect(code).toBe(0);
    expect(stdout.text).toContain(`Loaded ${file} into an emulated VM: order 19, 32,768 entries, `);
    expect(stdout.text).toContain(`digest  ${info.digest}\nverified: `);
    expect(stderr.text).toBe(`verifying ${file}\nwriting: 100%\nreading the table back\n`);
  });

  test('with --json prints one document, with --quiet nothing', async () => {
    const output = await execute('load', '--json', '--emulated=host=power8', file);
    expect([output.code, output.stderr.text]).toEqual([0, '']);
    const { info } = await readSnapshot(file);
    expect(json(output)).toEqual({
      file,
      target: 'an emulated VM',
      ...reportFields(info),
      verified: false,
    });
    const { code, stdout, stderr } = await execute('load', '--quiet', '--emulated', file);
    expect([code, stdout.text, stderr.text]).toEqual([0, '', '']);
  });

  test('of a damaged file ends with 1, and tells the place', async () => {
    const damaged = path.join(root, 'damaged.snap');
    const bytes = readFileSync(file);
    bytes[200]! ^= 1;
    writeFileSync(damaged, bytes);
    const { code, stdout, stderr } = await execute('load', '--emulated', damaged);
    expect([code, stdout.text]).toEqual([1, '']);
    expect(stderr.text).toContain(damaged);
    expect(stderr.text).toMatch(/CRC32 is wrong \(frame 1 at byte \d+\)/);
    const none = await execute('load', '--emulated', path.join(root, 'none'));
    expect(none.code).toBe(1);
    expect(none.stderr.text).toContain('ENOENT');
  });
});
