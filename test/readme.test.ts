import { execFile } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import { expect, test } from 'vitest';
import * as library from '../lib/index.js';
import { DESTINATION_STATES, SOURCE_STATES } from '../lib/migration/states.js';
import * as testing from '../lib/testing.js';
import { compilerOptions } from '../scripts/readme-options.mjs';
import { noCertificates } from './transport/certificates.js';

const root = path.resolve(import.meta.dirname, '..');
const program = path.join(root, 'dist/bundle/main.js');

/** Every README of the project, by its path. */
const pages = new Map(
  await Promise.all(
    [
      'README.md',
      'lib/README.md',
      'lib/base/README.md',
      'lib/cli/README.md',
      'lib/cli/options.md',
      'lib/inspect/README.md',
      'lib/io/README.md',
      'lib/migration/README.md',
      'lib/qemu/README.md',
      'lib/snapshot/README.md',
      'lib/testing/README.md',
      'lib/vm/README.md',
      'native/README.md',
      'scripts/bench/README.md',
      'scripts/power/README.md',
      'scripts/systemd/README.md',
    ].map(async (name) => [name, await readFile(path.join(root, name), 'utf8')] as const),
  ),
);
const door = pages.get('README.md')!;
const commandsPage = pages.get('lib/cli/README.md')!;
const everything = [...pages.values()].join('\n');

/** The blocks of a language, with the page and the number of each. */
function blocksOf(language: string): (readonly [page: string, number: number, code: string])[] {
  const block = new RegExp(`^\`\`\`${language}\\n([^]*?)^\`\`\`$`, 'gm');
  return [...pages].flatMap(([page, text]) =>
    [...text.matchAll(block)].map(([, code], index) => [page, index + 1, code!] as const),
  );
}

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

test('every option that a README names is one of a command, and every option of migrations is named', async () => {
  const optionsIn = (text: string): string[] => [...new Set(text.match(/(?<![\w-])--[a-z][a-z-]+/g))];
  const helpOf = async (...command: string[]): Promise<string> =>
    (await promisify(execFile)(process.execPath, [...command, '--help'], { cwd: root })).stdout;
  const helpsOf = (...commands: string[]): Promise<string[]> =>
    Promise.all(commands.map((command) => helpOf(program, command)));
  const migration = await helpsOf('send', 'receive', 'resolve', 'save', 'load');
  const others = await helpsOf(
    'probe',
    'demo',
    'check',
    'extract',
    'rewrite',
    'relay',
    'inspect',
    'diff',
    'doctor',
    'watch',
    'report',
    'fit',
    'advise',
    'export',
  );
  const scripts = await Promise.all(
    ['power/main', 'bench/main', 'soak'].map((script) => helpOf(`scripts/${script}.mjs`)),
  );
  // Those of npm, npx, openssl and the like stand where these are called.
  const ours = everything.replaceAll(
    /\b(npm install|npx (?!kvm-htab)|ppc64_cpu|systemctl|tsc|virsh) ?[^`\n]*/g,
    '',
  );
  const known = optionsIn([...migration, ...others, ...scripts].join('\n'));
  expect(optionsIn(ours).filter((option) => !known.includes(option))).toEqual([]);
  expect(optionsIn(migration.join('\n')).filter((option) => !optionsIn(ours).includes(option))).toEqual([]);
});

test('the page of the commands names every state of a migration', () => {
  const [, source, destination] = /^States of the source: ([^]*?)Of the destination: ([^]*?)\n\n/m.exec(
    commandsPage,
  )!;
  const namesIn = (text: string): string[] => [...text.matchAll(/`([^`]+)`/g)].map(([, name]) => name!);
  expect(namesIn(source!)).toEqual(Object.keys(SOURCE_STATES));
  expect(namesIn(destination!)).toEqual(Object.keys(DESTINATION_STATES));
});

test('the README has a row for every export', () => {
  const [, table] = /^## Exports\n([^]*?)^## /m.exec(door)!;
  const named = [...table!.matchAll(/`(\w+)`/g)].map(([, name]) => name!);
  expect([...Object.keys(library), ...Object.keys(testing)].filter((name) => !named.includes(name))).toEqual(
    [],
  );
});

test('every path and every heading that a README names exists', () => {
  const lost = [...pages].flatMap(([page, text]) => {
    const folder = path.dirname(page);
    const links = [...text.matchAll(/\]\((?!https?:)([^)#\s]*)(#[^)]+)?\)/g)].map(([, link, anchor]) => ({
      target: link === '' ? page : path.join(folder, link!),
      anchor,
    }));
    const named = [...text.matchAll(/`((?:lib|scripts|test|native)\/[\w./-]+)`/g)].map(([, target]) => ({
      target: target!,
      anchor: undefined,
    }));
    return [...links, ...named]
      .filter(({ target, anchor }) => {
        if (!existsSync(path.join(root, target))) return true;
        return anchor !== undefined && !headingsOf(path.join(root, target)).includes(anchor.slice(1));
      })
      .map(({ target, anchor }) => `${page}: ${target}${anchor ?? ''}`);
  });
  expect(lost).toEqual([]);
});

/** The anchors of a page's headings, as the web site that shows it makes them. */
function headingsOf(file: string): string[] {
  return [...readFileSync(file, 'utf8').matchAll(/^#+ (.*)$/gm)].map(([, heading]) =>
    heading!
      .toLowerCase()
      .replaceAll(/[^\w -]/g, '')
      .replaceAll(' ', '-'),
  );
}

test('the agent of the README is the one that a test runs', async () => {
  const program = await readFile(path.join(root, 'test/migration/agent-example.ts'), 'utf8');
  const agent = program.slice(program.indexOf('import')).replaceAll('../../lib/index.js', 'kvm-htab');
  expect(pages.get('lib/migration/README.md')).toContain(`\`\`\`ts\n${agent}\`\`\``);
});

test('the C example is the program that runs on the real kernel', async () => {
  const [, shown] = /^```c\n([^]*?)^```$/m.exec(pages.get('lib/vm/README.md')!)!;
  const program = await readFile(path.join(root, 'test/power/vmm/handover.c'), 'utf8');
  expect(program).toMatch(/^\/\/ .*\n\n#include/);
  expect(shown).toBe(program.slice(program.indexOf('#include')));
});
