import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { exitCodeOf } from '../../lib/cli/exit-codes.js';
import { run } from '../../lib/cli/program.js';
import { HtabError, HtabUnavailableError } from '../../lib/errors.js';
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

  test.each([
    [[], 'Usage: kvm-htab'],
    [['frobnicate'], "unknown command 'frobnicate'"],
    [['demo', '--fast'], "unknown option '--fast'"],
    [['demo', 'now'], 'too many arguments'],
    [['demo', '--order', '18'], 'It must be an integer in 19..36.'],
    [['demo', '--order', '37'], 'It must be an integer in 19..36.'],
    [['demo', '--order', '0x17'], 'It must be an integer in 19..36.'],
    [['demo', '--rate', '-1'], 'It must be an integer in 0..1000000.'],
    [['demo', '--seed', '1.5'], 'It must be an integer in 0..4294967295.'],
    [['demo', '--seed', ''], 'It must be an integer in 0..4294967295.'],
  ])('%j is wrong usage, exit code 2', async (args, message) => {
    const output = captureOutput();
    expect(await run(args, output)).toBe(2);
    expect(output.stderr.text).toContain(message);
    expect(output.stdout.text).toBe('');
  });

  test('ends with the exit code of what went wrong', () => {
    expect(exitCodeOf(new Error('x'))).toBe(1);
    expect(exitCodeOf(new HtabError('ERR_HTAB_VERIFY', 'x'))).toBe(1);
    expect(exitCodeOf(new HtabUnavailableError('no-device', 'x', 'y'))).toBe(3);
    expect(exitCodeOf(new HtabUnavailableError('refused', 'x', 'y'))).toBe(1);
    expect(exitCodeOf(new HtabError('ERR_HTAB_IN_DOUBT', 'x'))).toBe(4);
  });
});
