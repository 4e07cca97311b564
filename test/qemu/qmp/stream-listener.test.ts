import { spawnSync } from 'node:child_process';
import { mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { expect, test } from 'vitest';
import { listenBeside } from '../../../lib/qemu/qmp/stream-listener.js';
import { scratchFiles } from '../../scratch.js';

const scratch = scratchFiles();

test('folders of processes that have ended are removed beside the monitor, and no others', async () => {
  const monitor = scratch('monitor');
  writeFileSync(monitor, '');
  const parent = path.dirname(monitor);
  const folders = (): string[] => readdirSync(parent).filter((name) => name.startsWith('.kvm-htab-'));
  await using running = await listenBeside(monitor);
  const [own] = folders();
  expect(running.uri).toContain(own);
  const { pid: ended } = spawnSync(process.execPath, ['--version']);
  const left = own!.replace(`-${process.pid}-`, `-${ended}-`);
  const elsewhere = left.replace(/^\.kvm-htab-[\da-f]{8}/, '.kvm-htab-00000000');
  for (const name of [left, elsewhere]) mkdirSync(path.join(parent, name, 'stream'), { recursive: true });
  await using other = await listenBeside(monitor);
  expect(other.uri).not.toContain(own);
  expect(folders()).toEqual(expect.arrayContaining([own, elsewhere]));
  expect(folders()).not.toContain(left);
  expect(folders()).toHaveLength(3);
});
