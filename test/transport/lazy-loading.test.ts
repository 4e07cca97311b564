import { execFileSync, spawnSync } from 'node:child_process';
import { openSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { expect, test } from 'vitest';

import { MAIN, notCompiled } from '../cli/processes.js';

const root = path.resolve(import.meta.dirname, '../..');

test('importing kvm-htab loads neither node:net nor node:tls; connecting does', () => {
  const program = `
    const isLoaded = (name) => process.moduleLoadList.includes('NativeModule ' + name);
    const { connect } = await import('kvm-htab');
    const before = ['net', 'tls'].filter(isLoaded);
    await connect('unix:/nowhere/at-all').catch(() => undefined);
    console.log(JSON.stringify([before, isLoaded('net')]));`;
  const args = ['--input-type=module', '-e', program];
  const output = execFileSync(process.execPath, args, { cwd: root, encoding: 'utf8' });
  expect(JSON.parse(output)).toEqual([[], true]);
});

/** Packages that a file of the bundle imports at once, and all that it imports. */
function packagesOf(file: string, seen = new Set<string>()): string[] {
  if (seen.has(file)) return [];
  seen.add(file);
  const imports = readFileSync(file, 'utf8').matchAll(/^(?:import|export)\b[^;'"]*["']([^"']+)["']/gm);
  return [...imports].flatMap(([, name]) => {
    if (name!.startsWith('.')) return packagesOf(path.join(path.dirname(file), name!), seen);
    return name!.startsWith('node:') ? [] : [name!];
  });
}

test.skipIf(notCompiled !== undefined)(
  `importing kvm-htab loads no package: those for pictures, exports and the terminal are for the commands${notCompiled === undefined ? '' : ` (${notCompiled})`}`,
  () => {
    const bundle = path.join(root, 'dist/bundle');
    expect(packagesOf(path.join(bundle, 'index.js'))).toEqual([]);
    // It finds those of a command.
    expect(packagesOf(path.join(bundle, 'process.js'))).toContain('commander');
  },
);

test.skipIf(notCompiled !== undefined)(
  `kvm-htab --help loads neither node:crypto nor node:tls, and ends as a Node process does${notCompiled === undefined ? '' : ` (${notCompiled})`}`,
  () => {
    const onExit = `process.on('exit', () => {
      const loaded = ['crypto', 'tls'].filter((name) => process.moduleLoadList.includes('NativeModule ' + name));
      require('node:fs').writeSync(2, JSON.stringify(loaded));
    });`;
    const preload = `data:text/javascript,import{createRequire}from'node:module';const require=createRequire('/');${encodeURIComponent(onExit)}`;
    const { stderr } = spawnSync(process.execPath, ['--import', preload, MAIN, '--help'], {
      // As a file does, this stays with the command's own stream.
      stdio: ['ignore', openSync('/dev/null', 'w'), 'pipe'],
      encoding: 'utf8',
    });
    expect(stderr).toBe('[]');
  },
);
