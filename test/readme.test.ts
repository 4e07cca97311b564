import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import { expect, test } from 'vitest';
import { DESTINATION_STATES, SOURCE_STATES } from '../lib/migration/two-phase.js';
import { noCertificates } from './unit/transport/certificates.js';

const root = path.resolve(import.meta.dirname, '..');
const program = path.join(root, 'dist/bundle/main.js');
const readme = await readFile(path.join(root, 'README.md'), 'utf8');
const examples = [...readme.matchAll(/^```js\n([^]*?)^```$/gm)].map(([, code]) => code!);

test('the README has examples to run', () => {
  expect(examples.length).toBeGreaterThanOrEqual(2);
});

test.each(examples.map((code, index) => [index + 1, code] as const))(
  'example %i of the README runs as it stands and prints no false',
  async (_number, code) => {
    // Inside the package, where its own name leads to what was compiled.
    const folder = await mkdtemp(path.join(root, 'dist/readme-'));
    try {
      const file = path.join(folder, 'example.mjs');
      await writeFile(file, code);
      const { stdout } = await promisify(execFile)(process.execPath, [file]);
      expect(stdout).toMatch(/true/);
      expect(stdout).not.toMatch(/false/);
      const [, printed] = /^\/\/ prints (.*)$/m.exec(code) ?? [];
      if (printed !== undefined) expect(stdout).toBe(`${printed}\n`);
    } finally {
      await rm(folder, { recursive: true });
    }
  },
);

test('the command of a clone can be run as it has been compiled, as npx does', async () => {
  const { stdout } = await promisify(execFile)(program, ['--help']);
  expect(stdout).toMatch(/^Usage: kvm-htab /);
});

test('the commands of the README for a laptop run as they stand', async () => {
  const [, commands] = /^```sh\n(kvm-htab receive [^]*?)^```$/m.exec(readme)!;
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
  `the README's certificates protect a migration${noCertificates === undefined ? '' : ` (${noCertificates})`}`,
  async () => {
    const [, commands] = /^```sh\n(openssl [^]*?)^```$/m.exec(readme)!;
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

test('the TypeScript examples of the README compile', async () => {
  const blocks = [...readme.matchAll(/^```ts\n([^]*?)^```$/gm)].map(([, code]) => code!);
  expect(blocks.length).toBeGreaterThanOrEqual(2);
  const given = `declare const pid: number, fd: number, migrationId: string;
    declare const identity: Record<'cert' | 'key' | 'ca', Buffer>;
    declare function ship(chunk: Uint8Array): Promise<void>;
    declare function pauseGuest(): Promise<void>;
    declare function resumeGuest(): Promise<void>;\n`;
  const folder = await mkdtemp(path.join(root, 'dist/readme-'));
  try {
    const files = blocks.map((code, index) => ({ file: path.join(folder, `example-${index}.mts`), code }));
    for (const { file, code } of files) await writeFile(file, given + code);
    const flags =
      '--noEmit --strict --skipLibCheck --module nodenext --target es2023 --lib es2023,esnext.disposable --types node';
    await promisify(execFile)(
      'npx',
      ['tsc', '--ignoreConfig', ...flags.split(' '), ...files.map(({ file }) => file)],
      {
        cwd: root,
      },
    ).catch((error: unknown) => {
      throw new Error((error as { stdout: string }).stdout);
    });
  } finally {
    await rm(folder, { recursive: true });
  }
});

test('every option that the README names is one of a command, and every option of migrations is named', async () => {
  const optionsIn = (text: string): string[] => [...new Set(text.match(/(?<![\w-])--[a-z][a-z-]+/g))];
  const helpOf = async (...command: string[]): Promise<string> =>
    (await promisify(execFile)(process.execPath, [...command, '--help'], { cwd: root })).stdout;
  const helpsOf = (...commands: string[]): Promise<string[]> =>
    Promise.all(commands.map((command) => helpOf(program, command)));
  const migration = await helpsOf('send', 'receive', 'resolve', 'save', 'load');
  const others = await helpsOf('probe', 'demo');
  const power = await helpOf('scripts/power/main.mjs');
  // Those of npm, npx, openssl and the like stand where these are called.
  const ours = readme.replaceAll(/\b(npm|npx|ppc64_cpu|tsc) [^`\n]*/g, '');
  const known = optionsIn([...migration, ...others, power].join('\n'));
  expect(optionsIn(ours).filter((option) => !known.includes(option))).toEqual([]);
  expect(optionsIn(migration.join('\n')).filter((option) => !optionsIn(ours).includes(option))).toEqual([]);
});

test('the README names every state of a migration, and every event that send and receive print', async () => {
  const [, source, destination] = /^States of the source: ([^]*?)Of the destination: ([^]*?)\n\n/m.exec(
    readme,
  )!;
  const namesIn = (text: string): string[] => [...text.matchAll(/`([^`]+)`/g)].map(([, name]) => name!);
  expect(namesIn(source!)).toEqual(Object.keys(SOURCE_STATES));
  expect(namesIn(destination!)).toEqual(Object.keys(DESTINATION_STATES));

  const sources = ['reporter', 'migrate/send', 'migrate/receive', 'migrate/resources'];
  const code = await Promise.all(
    sources.map((name) => readFile(path.join(root, `lib/cli/${name}.ts`), 'utf8')),
  );
  const printed = [...code.join('\n').matchAll(/(?:#event\(|eventLine\(|\.say\([^\n]*, )'(\w+)'/g)].map(
    ([, event]) => event!,
  );
  const [, table] = /^\| event +\|[^\n]*\n([^]*?)\n\n/m.exec(readme)!;
  const named = table!.split('\n').flatMap((row) => namesIn(row.split('|')[1]!));
  expect(named.sort()).toEqual([...new Set(printed)].sort());
});

test('what the README points at comes with the package', async () => {
  const { files } = JSON.parse(await readFile(path.join(root, 'package.json'), 'utf8')) as {
    files: string[];
  };
  const links = [
    ...readme.matchAll(/\]\((?!https?:|#)([^)]+)\)/g),
    ...readme.matchAll(/`((?:lib|scripts|test)\/[^`]+)`/g),
  ];
  const paths = links.map(([, link]) => link!);
  expect(paths).toContain('scripts/systemd');
  expect(paths.filter((each) => !files.some((file) => each === file || each.startsWith(`${file}/`)))).toEqual(
    [],
  );
});

test('the C example of the README is the program that runs in front of the real kernel', async () => {
  const [, shown] = /^```c\n([^]*?)^```$/m.exec(readme)!;
  const program = await readFile(path.join(root, 'test/power/vmm/handover.c'), 'utf8');
  expect(program).toMatch(/^\/\/ .*\n\n#include/);
  expect(shown).toBe(program.slice(program.indexOf('#include')));
});
