import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { exitCodeOf } from '../../lib/cli/errors/exit-codes.js';
import { run } from '../../lib/cli/program.js';
import { HtabError, HtabUnavailableError } from '../../lib/base/errors.js';
import { captureOutput } from './capture.js';

describe('kvm-htab', () => {
  test('--help goes to stdout, names every command and every exit code, and is no failure', async () => {
    const output = captureOutput();
    expect(await run(['--help'], output)).toBe(0);
    expect(output.stdout.text).toMatch(/^Usage: kvm-htab/);
    expect(output.stdout.text).toContain('demo [options]');
    for (const code of [0, 1, 2, 3, 4, 5, 130])
      expect(output.stdout.text).toMatch(new RegExp(`^  ${code} `, 'm'));
    expect(output.stderr.text).toBe('');
  });

  test('demo --help has the range of every number, and examples', async () => {
    const output = captureOutput();
    expect(await run(['demo', '--help'], output)).toBe(0);
    for (const range of ['0..4294967295', '19..36', '0..1000000']) {
      expect(output.stdout.text).toContain(range);
    }
    expect(output.stdout.text).toContain('$ kvm-htab demo --json');
  });

  test('--version is that of the package', async () => {
    const output = captureOutput();
    expect(await run(['--version'], output)).toBe(0);
    const { version } = JSON.parse(readFileSync('package.json', 'utf8')) as { version: string };
    expect(output.stdout.text).toBe(`${version}\n`);
  });

  // Others are in failing-commands.ts; of these, the arguments hold blanks, or what no terminal should print.
  test.each([
    [['demo', '--seed', ''], "--seed ''"],
    [['send', 'x\u202e'], "address 'x\\u202e'"],
    [['resolve', 'a b'], "migration-id 'a b'"],
  ])('%j is wrong usage: exit code 2, and one line that begins with the argument', async (args, begin) => {
    const output = captureOutput();
    expect(await run(args, output)).toBe(2);
    expect(output.stdout.text).toBe('');
    expect(output.stderr.text.startsWith(`kvm-htab: ${begin}: `)).toBe(true);
    expect(output.stderr.text.split('\n')).toHaveLength(2);
  });

  test('without arguments it prints its help as wrong usage', async () => {
    const output = captureOutput();
    expect(await run([], output)).toBe(2);
    expect(output.stdout.text).toBe('');
    expect(output.stderr.text).toContain('Usage: kvm-htab');
  });

  test('every option that takes a value asks for it by its name alone', async () => {
    const helpOf = async (...args: string[]): Promise<string> => {
      const output = captureOutput();
      expect(await run([...args, '--help'], output)).toBe(0);
      return output.stdout.text;
    };
    const commands = [...(await helpOf()).matchAll(/^ {2}(\w+) \[options\]/gm)].map(([, name]) => name!);
    expect(commands.length).toBeGreaterThan(6);
    let count = 0;
    for (const command of commands) {
      for (const [, option] of (await helpOf(command)).matchAll(/^ {2}(--[\w-]+) </gm)) {
        const output = captureOutput();
        expect(await run([command, option!], output)).toBe(2);
        expect(output.stderr.text).toBe(`kvm-htab: ${option!} needs a value\n`);
        count++;
      }
    }
    expect(count).toBeGreaterThan(50);
  });

  test('help shows the help of a command, or of all', async () => {
    for (const [args, usage] of [
      [['help'], 'Usage: kvm-htab [options] [command]'],
      [['help', 'send'], 'Usage: kvm-htab send [options] <address>'],
    ] as const) {
      const output = captureOutput();
      expect(await run(args, output)).toBe(0);
      expect(output.stdout.text).toContain(usage);
    }
  });

  test('ends with the exit code of what went wrong', () => {
    expect(exitCodeOf(new Error('x'))).toBe(1);
    expect(exitCodeOf(new HtabError('ERR_HTAB_VERIFY', 'x'))).toBe(1);
    expect(exitCodeOf(new HtabUnavailableError('no-device', 'x', 'y'))).toBe(3);
    expect(exitCodeOf(new HtabUnavailableError('refused', 'x', 'y'))).toBe(1);
    expect(exitCodeOf(new HtabError('ERR_HTAB_IN_DOUBT', 'x'))).toBe(4);
  });
});
