import { execFileSync } from 'node:child_process';
import path from 'node:path';
import { expect, test } from 'vitest';

const root = path.resolve(import.meta.dirname, '../..');

test('importing kvm-htab loads neither node:net nor node:tls; connecting does', () => {
  const program = `
    const isLoaded = (name) => process.moduleLoadList.includes('NativeModule ' + name);
    const { connect } = await import('kvm-htab');
    const before = [isLoaded('net'), isLoaded('tls')];
    await connect('unix:/nowhere/at-all').catch(() => undefined);
    console.log(JSON.stringify([before, isLoaded('net')]));`;
  const args = ['--input-type=module', '-e', program];
  const output = execFileSync(process.execPath, args, { cwd: root, encoding: 'utf8' });
  expect(JSON.parse(output)).toEqual([[false, false], true]);
});
