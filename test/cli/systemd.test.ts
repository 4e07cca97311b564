import { spawnSync } from 'node:child_process';
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { describe, expect, test } from 'vitest';
import { run } from '../../lib/cli/program.js';
import { scratchFiles } from '../scratch.js';
import { Authority, noCertificates } from '../transport/certificates.js';
import { captureOutput } from './capture.js';

const UNITS = 'scripts/systemd';
const COMMAND = '/usr/bin/kvm-htab';
const scratch = scratchFiles();
const unit = (name: string): string => readFileSync(path.join(UNITS, name), 'utf8');

const notVerified =
  spawnSync('systemd-analyze', ['--version']).status === 0 ? '' : ' (systemd-analyze is not installed)';

/** What systemd says of the units of a guest, where the command is installed. */
function verify(change: (text: string) => string): string {
  const folder = scratch('units');
  mkdirSync(folder);
  for (const name of readdirSync(UNITS)) {
    const text = change(unit(name)).replaceAll(COMMAND, process.execPath);
    writeFileSync(path.join(folder, name.replace('@', '@guest')), text);
  }
  const units = readdirSync(folder)
    .filter((name) => name !== 'README.md')
    .map((name) => path.join(folder, name));
  const { stderr, stdout } = spawnSync('systemd-analyze', ['verify', '--man=no', ...units], {
    encoding: 'utf8',
  });
  return stdout + stderr;
}

describe('the systemd units', () => {
  test.skipIf(notVerified !== '')(`are ones that systemd takes${notVerified}`, () => {
    expect(verify((text) => text)).toBe('');
    expect(verify((text) => text.replace('NoDelay=true', 'NoDelay=perhaps'))).toContain('perhaps');
    expect(verify((text) => text.replace('KillMode=mixed', 'KillMode=maybe'))).toContain('maybe');
  });

  const overTls = `start a command that exists, with options that it has${noCertificates === undefined ? '' : ` (${noCertificates})`}`;
  test.skipIf(noCertificates !== undefined)(overTls, async () => {
    const [, line = ''] = /^ExecStart=((?:.*\\\n)*.*)$/m.exec(unit('kvm-htab-receive@.service')) ?? [];
    const [command, ...args] = line.split(/[\s\\]+/);
    expect(command).toBe(COMMAND);
    // What systemd puts in place, and what the host's administrator does.
    const { cert, key, ca } = new Authority('fleet', scratch).issue('DNS:host');
    const files = new Map([
      ['/etc/kvm-htab/host.pem', cert],
      ['%d/host.key', key],
      ['/etc/kvm-htab/fleet.pem', ca],
      ['/var/lib/kvm-htab/journal', scratch('journal')],
    ]);
    const output = captureOutput();
    expect(
      await run(
        args.map((arg) => files.get(arg) ?? arg),
        output,
      ),
    ).toBe(2);
    expect(output.stderr.text).toBe(
      'kvm-htab: address: systemd has passed no socket; start the service through its .socket unit\n',
    );
  });
});
