import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readFileSync, readdirSync, statSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { describe, expect, onTestFinished, test, vi } from 'vitest';
import { readSnapshot } from '../../lib/snapshot/read.js';
import { scratchFiles, scratchFolder } from '../scratch.js';
import { MAIN, notCompiled } from './processes.js';
import { execute } from './execute.js';

const scratch = scratchFiles();
const root = scratchFolder();

// Signals and process exit can only be seen from outside; `npm test` compiles first.
describe.skipIf(notCompiled !== undefined)('a kvm-htab save that is stopped', () => {
  /** A save that has its first passes in the file, and waits for a guest that is slow to stop. */
  async function begin(
    file: string,
  ): Promise<{ child: ReturnType<typeof spawn>; ended: Promise<unknown[]>; log: string; goOn: () => void }> {
    const folder = mkdtempSync(path.join(root, 'hooks-'));
    const [log, gate] = [path.join(folder, 'log'), path.join(folder, 'gate')];
    const pause = `echo pausing >> ${log}; while ! test -e ${gate}; do sleep 0.02; done`;
    const hooks = ['--on-pause', pause, '--on-resume', `echo resumed >> ${log}`];
    const args = [MAIN, 'save', '--quiet', '--emulated=order=18', ...hooks, file];
    const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'ignore'] });
    const ended = once(child, 'close');
    const goOn = (): void => {
      writeFileSync(gate, '');
    };
    onTestFinished(goOn);
    await vi.waitFor(() => readFileSync(log), { timeout: 60_000, interval: 20 });
    return { child, ended, log, goOn };
  }

  test('by SIGINT ends with 130 and a guest that runs, and leaves what was there', async () => {
    const file = scratch('table.snap');
    writeFileSync(file, 'before');
    const { child, ended, log, goOn } = await begin(file);
    child.kill('SIGINT');
    goOn();
    expect(await ended).toEqual([130, null]);
    expect(readFileSync(log, 'utf8')).toBe('pausing\nresumed\n');
    expect(readdirSync(path.dirname(file))).toEqual(['table.snap']);
    expect(readFileSync(file, 'utf8')).toBe('before');
  });

  test.each([undefined, 'before'])(
    'by SIGKILL leaves what was there (%s), and half a file only under a name of its own',
    async (before) => {
      const file = scratch('table.snap');
      if (before !== undefined) writeFileSync(file, before);
      const { child, ended } = await begin(file);
      child.kill('SIGKILL');
      expect(await ended).toEqual([null, 'SIGKILL']);
      const left = readdirSync(path.dirname(file)).filter((name) => name !== 'table.snap');
      expect(left).toEqual([expect.stringMatching(/^\.kvm-htab-.+-[0-9a-f]{8}\.tmp$/)]);
      const half = path.join(path.dirname(file), left[0]!);
      expect(statSync(half).size).toBeGreaterThan(1000);
      await expect(readSnapshot(half)).rejects.toMatchObject({ code: 'ERR_HTAB_FORMAT' });
      expect(existsSync(file) ? readFileSync(file, 'utf8') : undefined).toBe(before);
      // The next one takes it away.
      expect((await execute('save', '--quiet', '--emulated=order=18', file)).code).toBe(0);
      expect(readdirSync(path.dirname(file))).toEqual(['table.snap']);
    },
  );

  test('by a file system that takes no more of the file says so, and leaves what was there', async () => {
    const file = scratch('table.snap');
    writeFileSync(file, 'before');
    // 8 KiB, in blocks of 512 bytes or of 1 KiB, depending on the shell.
    const child = spawn('/bin/sh', [
      ...['-c', 'ulimit -f 8 && exec "$0" dist/bundle/main.js save --quiet --emulated=order=18 "$1"'],
      ...[process.execPath, file],
    ]);
    let stderr = '';
    child.stderr.on('data', (chunk: Buffer) => (stderr += chunk.toString()));
    expect(await once(child, 'close')).toEqual([1, null]);
    expect(stderr).toContain(`write the snapshot ${file}: write failed with EFBIG; `);
    expect(readdirSync(path.dirname(file))).toEqual(['table.snap']);
    expect(readFileSync(file, 'utf8')).toBe('before');
  });
});
