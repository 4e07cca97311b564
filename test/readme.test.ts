import { execFile } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import { expect, test } from 'vitest';
import { compilerOptions } from '../scripts/readme-options.mjs';
import { noCertificates } from './transport/certificates.js';
import { root, program, commandsPage, blocksOf } from './readme-pages.js';

const examples = blocksOf('js');

test('the READMEs have examples to run', () => {
  expect(examples.map(([page]) => page)).toContain('README.md');
  expect(examples.length).toBeGreaterThanOrEqual(5);
});

test.each(examples)(
  '%s: JavaScript example %i runs as it stands and prints no false',
  async (_page, _number, code) => {
    // Inside the package, where its own name leads to what was compiled.
    const folder = await mkdtemp(path.join(root, 'dist/readme-'));
    try {
      const file = path.join(folder, 'example.mjs');
      await writeFile(file, code);
      const { stdout } = await promisify(execFile)(process.execPath, [file], { cwd: folder });
      expect(stdout).toMatch(/true/);
      expect(stdout).not.toMatch(/false/);
      const printed = [...code.matchAll(/\/\/ prints (.*)$/gm)].map(([, line]) => `${line!}\n`);
      if (printed.length > 0) expect(stdout).toBe(printed.join(''));
    } finally {
      await rm(folder, { recursive: true });
    }
  },
);

test('the command of a clone can be run as it has been compiled, as npx does', async () => {
  const { stdout } = await promisify(execFile)(program, ['--help']);
  expect(stdout).toMatch(/^Usage: kvm-htab /);
});

test('the commands for a laptop run as they stand', async () => {
  const [, commands] = /^```sh\n(kvm-htab receive [^]*?)^```$/m.exec(commandsPage)!;
  const folder = await mkdtemp(path.join(tmpdir(), 'kvm-htab-readme-'));
  try {
    await writeFile(
      path.join(folder, 'kvm-htab'),
      `#!/bin/sh\nexec '${process.execPath}' '${program}' "$@"\n`,
      {
        mode: 0o755,
      },
    );
    // The one path that is not the reader's own folder.
    const script = `trap 'kill %1 2> /dev/null || :' EXIT\n${commands!.replaceAll('/tmp/b.sock', path.join(folder, 'b.sock'))}`;
    const env = { ...process.env, PATH: `${folder}:${process.env['PATH'] ?? ''}` };
    const { stdout } = await promisify(execFile)('sh', ['-e', '-c', script], { cwd: folder, env });
    expect(stdout).toMatch(/^Received: order 24/m);
    expect(stdout).toMatch(/^Moved to unix:/m);
    expect(stdout).toMatch(/^Saved/m);
    expect(stdout).toMatch(/^Loaded/m);
  } finally {
    await rm(folder, { recursive: true });
  }
});

test.skipIf(noCertificates !== undefined)(
  `the certificates of the README protect a migration${noCertificates === undefined ? '' : ` (${noCertificates})`}`,
  async () => {
    const [, commands] = /^```sh\n(openssl [^]*?)^```$/m.exec(commandsPage)!;
    const folder = await mkdtemp(path.join(tmpdir(), 'kvm-htab-readme-'));
    try {
      const tls = '--emulated --cert host.pem --key host.key --ca fleet.pem --json';
      const script = `${commands!}
        '${process.execPath}' '${program}' receive tls://127.0.0.1:0 --peer-name host-a ${tls} > received &
        trap 'kill %1 2> /dev/null || :' EXIT
        for try in $(seq 100); do grep -q listening received && break; sleep 0.1; done
        address=$(grep -o 'tls://[^"]*' received)
        refused=0
        '${process.execPath}' '${program}' send "$address" ${tls} || refused=$?
        [ $refused = 1 ]
        '${process.execPath}' '${program}' send "$address" --peer-name host-a ${tls}
        wait %1`;
      const { stdout } = await promisify(execFile)('sh', ['-e', '-c', script], { cwd: folder });
      expect(stdout).toMatch(/"event":"failed".*127\.0\.0\.1/);
      expect(stdout).toMatch(/"event":"done"/);
      const { stdout: host } = await promisify(execFile)(
        'openssl',
        ['x509', '-in', 'host.pem', '-noout', '-text'],
        {
          cwd: folder,
        },
      );
      // One that could sign for others would be an authority on every host.
      expect(host).not.toMatch(/CA:TRUE/);
    } finally {
      await rm(folder, { recursive: true });
    }
  },
);

test('the TypeScript examples compile with the options of the README, to what Node can parse', async () => {
  const blocks = blocksOf('ts').map(([, , code]) => code);
  expect(blocks.length).toBeGreaterThanOrEqual(2);
  const given = `declare const pid: number, fd: number, migrationId: string;
    declare function ship(chunk: Uint8Array): Promise<void>;
    declare function pauseGuest(): Promise<void>;
    declare function resumeGuest(): Promise<void>;\n`;
  const folder = await mkdtemp(path.join(root, 'dist/readme-'));
  try {
    const files = blocks.map((code, index) => ({ file: path.join(folder, `example-${index}.mts`), code }));
    for (const { file, code } of files) await writeFile(file, given + code);
    const config = { compilerOptions: { ...compilerOptions(), strict: true, skipLibCheck: true } };
    await writeFile(path.join(folder, 'tsconfig.json'), JSON.stringify(config));
    await promisify(execFile)('npx', ['tsc', '-p', folder], { cwd: root }).catch((error: unknown) => {
      throw new Error((error as { stdout: string }).stdout);
    });
    for (const { file } of files)
      await promisify(execFile)(process.execPath, ['--check', file.replace(/mts$/, 'mjs')]);
  } finally {
    await rm(folder, { recursive: true });
  }
});
