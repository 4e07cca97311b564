import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { commandTree } from '../../scripts/command-tree.mjs';
import { manPage } from '../../scripts/man-page.mjs';
import { notCompiled } from './processes.js';
import { OPTIONS_PAGE, optionsPage } from '../../scripts/options-page.mjs';

test('lib/cli/options.md is current ("npm run options" writes it)', async ({ skip }) => {
  skip(notCompiled !== undefined, notCompiled);
  expect(readFileSync(OPTIONS_PAGE, 'utf8')).toBe(await optionsPage());
});

test('the manual page has every command, option and exit code', async ({ skip }) => {
  skip(notCompiled !== undefined, notCompiled);
  const program = await commandTree();
  const text = manPage(program).replaceAll('\\-', '-');
  for (const command of program.commands) {
    expect(text).toContain(`.SS "kvm-htab ${command.name()} `);
    for (const { flags } of command.options) expect(text).toContain(`.B "${flags}"`);
  }
  for (const code of [0, 1, 2, 3, 4, 5, 130]) expect(text).toMatch(new RegExp(`^ {2}${code} `, 'm'));
});

test('the manual page renders without a warning', async ({ skip }) => {
  skip(notCompiled !== undefined, notCompiled);
  skip(spawnSync('groff', ['--version']).error !== undefined, 'groff is not installed');
  const input = manPage(await commandTree());
  const { status, stdout, stderr } = spawnSync('groff', ['-man', '-ww', '-Tutf8', '-P-cbou'], {
    input,
    encoding: 'utf8',
  });
  expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
  for (const title of ['NAME', 'SYNOPSIS', 'COMMANDS', 'EXIT STATUS']) expect(stdout).toContain(title);
  expect(stdout).toMatch(/^ +\$ kvm-htab save --htab-socket \/run\/vmm\/control guest.snap$/m);
});
