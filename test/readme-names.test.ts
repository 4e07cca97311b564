import { execFile } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { promisify } from 'node:util';
import { expect, test } from 'vitest';
import * as library from '../lib/index.js';
import { DESTINATION_STATES, SOURCE_STATES } from '../lib/migration/states.js';
import * as testing from '../lib/testing.js';
import { root, program, pages, door, commandsPage, everything } from './readme-pages.js';

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
  // Those of npm, npx, node and the like stand where these are called.
  const ours = everything.replaceAll(
    /\b(npm install|npx (?!kvm-htab)|node (?=--)|ppc64_cpu|systemctl|tsc|virsh) ?[^`\n]*/g,
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
