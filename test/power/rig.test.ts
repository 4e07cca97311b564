// The host side of the rig, as far as it runs without a POWER machine.
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { Console } from '../../scripts/power/console.mjs';
import { cpio, folderEntry, linkEntry, MODE } from '../../scripts/power/cpio.mjs';
import { KERNEL_ABI, measuredOf, withTable } from '../../scripts/power/measured.mjs';
import { compareVersions } from '../../scripts/power/newest.mjs';
import { nameOf, parseOptions } from '../../scripts/power/options.mjs';

describe('the console', () => {
  test('shows what comes between the marks, counts the results and takes the verdict', () => {
    const shown: string[] = [];
    const output = new Console((line) => shown.push(line));
    const text = [
      '[    0.1] ok 1 - firmware is not a test',
      'power-begin 6.1.0 MMU : Radix',
      'ok 1 - a',
      'not ok 2 - b',
      '    ok 3 - quoted by a failure',
      'ok 3 - c # SKIP no guest',
      'power-end 1',
      'reboot: Power down',
      '',
    ].join('\r\n');
    for (const character of text) output.push(character);
    expect(output.begun).toBe('6.1.0 MMU : Radix');
    expect(output.verdict).toBe(1);
    expect(output.counts).toEqual({ passed: 1, failed: 1, skipped: 1 });
    expect(output.results).toEqual([
      { name: 'a', passed: true },
      { name: 'b', passed: false },
    ]);
    expect(shown).toEqual([
      '# Linux 6.1.0 MMU : Radix',
      'ok 1 - a',
      'not ok 2 - b',
      '    ok 3 - quoted by a failure',
      'ok 3 - c # SKIP no guest',
    ]);
  });

  test('has no verdict where the machine died', () => {
    const output = new Console(() => undefined);
    output.push('power-begin 6.1.0\nok 1 - a\npower-en');
    expect(output.verdict).toBeUndefined();
  });
});

describe('the options', () => {
  test('without a choice of machine ask for all four configurations', () => {
    expect(parseOptions(['--filter', 'host']).configurations.map(nameOf)).toEqual([
      'POWER9 radix host, Linux 6.1',
      'POWER9 hash host, Linux 6.1',
      'POWER8 hash host, Linux 6.1',
      'POWER9 radix host, Linux 6.12',
    ]);
  });

  test('with one ask for that machine alone', () => {
    expect(parseOptions(['--kernel', '6.12', '--hash-host']).configurations.map(nameOf)).toEqual([
      'POWER9 hash host, Linux 6.12',
    ]);
    expect(parseOptions(['--kernel', 'newest']).configurations.map(nameOf)).toEqual([
      'POWER9 radix host, Linux newest',
    ]);
    expect(parseOptions(['--shell']).configurations).toHaveLength(1);
  });

  test('with QEMU ask for a host whose guests have a table, and tell the tests inside', () => {
    const { configurations, tests } = parseOptions(['--qemu']);
    expect(configurations.map(nameOf)).toEqual(['POWER9 hash host, Linux 6.1, QEMU 7.2']);
    expect(tests.qemu).toBe('7.2');
    const other = parseOptions(['--qemu', '--qemu-version', '10.0', '--machine', 'powernv8']);
    expect(other.configurations.map(nameOf)).toEqual(['POWER8 hash host, Linux 6.1, QEMU 10.0']);
    const radix = parseOptions(['--qemu', '--radix-host']);
    expect(radix.configurations.map(nameOf)).toEqual(['POWER9 radix host, Linux 6.1, QEMU 7.2']);
    expect(radix.configurations[0]!.newEmulator).toBe(true);
  });

  test('to record ask for every machine with every kernel, and for what may crash', () => {
    const { configurations, tests } = parseOptions(['--measure']);
    expect(configurations).toHaveLength(9);
    expect(configurations.map(nameOf)).toContain('POWER8 hash host, Linux newest');
    expect(tests).toMatchObject({ mayCrash: true, filter: '^(host|conformance|kernel bugs)' });
    expect(parseOptions(['--measure', '--kernel', 'newest']).configurations).toHaveLength(1);
  });

  test('with a soak tell the program inside how long it is, and after how many moves it may end', () => {
    expect(parseOptions(['--soak-minutes', '60', '--soak-moves', '250']).tests.soak).toEqual({
      minutes: 60,
      moves: 250,
    });
    expect(parseOptions([]).tests.soak).toBeUndefined();
  });

  test.each([
    [['--machine', 'powernv10'], /powernv8 or powernv9/],
    [['--qemu', '--kernel', '6.12'], /6\.1, not 6\.12/],
    [['--qemu', '--qemu-version', '8'], /7\.2 or 10\.0/],
    [['--qemu-version', '7.2'], /--qemu/],
    [['--radix-host'], /--qemu/],
    [['--qemu', '--radix-host', '--hash-host'], /no --hash-host/],
    [['--qemu', '--radix-host', '--machine', 'powernv8'], /powernv9/],
    [['--kernel', '5.10'], /6\.1 or 6\.12 or newest/],
    [['--measure', '--filter', 'guest'], /--measure/],
    [['--measure', '--qemu'], /--measure/],
    [['--measure', '--soak-minutes', '5'], /--measure/],
    [['--qemu', '--soak-minutes', '5'], /--soak-minutes/],
    [['--filter', 'guest', '--soak-minutes', '5'], /--soak-minutes/],
    [['--soak-moves', '3'], /--soak-moves is for --soak-minutes/],
    [['--seed', '-1'], /--seed/],
    [['--operations', 'many'], /whole number/],
    [['--kills', '-1'], /--kills/],
    [['--soak-minutes', 'long'], /--soak-minutes/],
    [['--filter', '('], /regular expression/i],
    [['--faster'], /--faster/],
  ])('%s is refused', (args, message) => {
    expect(() => parseOptions(args)).toThrow(message);
  });
});

const hasDpkg = spawnSync('dpkg', ['--version']).status === 0;

test.skipIf(!hasDpkg)('the newest kernel is the newest by the rules of Debian (skipped without dpkg)', () => {
  const versions = ['7.2.13-1~bpo13+1', '7.2.9-1', '7.2.13-1', '7.2.13-1+b1', '6.12.107-1'];
  expect(versions.sort(compareVersions)).toEqual([
    '6.12.107-1',
    '7.2.9-1',
    '7.2.13-1~bpo13+1',
    '7.2.13-1',
    '7.2.13-1+b1',
  ]);
});

describe('what was measured', () => {
  test('is counted by the sections that the tests of a machine cite', () => {
    const output = new Console(() => undefined);
    const text = [
      'power-begin 6.1.0-50-powerpc64le Debian 6.1.176-1 KernelPageSize: 64 kB MMU : Radix cpu : POWER9, altivec supported',
      'ok 1 - conformance: a write of 16 bytes (0 #2, 11 #12) (0.1 s)',
      'ok 2 - kernel bugs: return-beyond-count shows its fault (0 #2) (1.0 s)',
      'not ok 3 - conformance: a record is cut (2.3) (0.2 s)',
      'ok 4 - conformance: a guest (6) # SKIP no guest',
      'ok 5 - host: a test of none (yet)',
      'power-end 1',
      '',
    ];
    output.push(text.join('\r\n'));
    expect(measuredOf(output)).toEqual({
      machine: 'POWER9 radix',
      kernel: '6.1.176-1',
      pageKiB: 64,
      passed: { '0 #2': 2, '11': 1 },
      failed: { '2.3': 1 },
    });
  });

  test('is what kernel-abi.md shows', async () => {
    await expect(withTable(readFileSync(KERNEL_ABI, 'utf8'))).toMatchFileSnapshot(KERNEL_ABI);
  });
});

test('an archive is what the kernel unpacks: aligned members with their modes, and an end', async () => {
  const parts: Buffer[] = [];
  const entries = [
    folderEntry('bin'),
    { path: 'bin/a', mode: MODE.program, data: Buffer.from('hello') },
    linkEntry('b', 'bin/a'),
    { path: 'console', mode: MODE.terminal, device: [5, 1] as [number, number] },
  ];
  for await (const part of cpio(entries)) parts.push(part);
  expect(members(Buffer.concat(parts))).toEqual([
    { path: 'bin', mode: 0o040755, data: '', device: [0, 0] },
    { path: 'bin/a', mode: 0o100755, data: 'hello', device: [0, 0] },
    { path: 'b', mode: 0o120777, data: 'bin/a', device: [0, 0] },
    { path: 'console', mode: 0o020600, data: '', device: [5, 1] },
    { path: 'TRAILER!!!', mode: 0, data: '', device: [0, 0] },
  ]);
});

/** Reads an archive by the format's description: 13 fields of 8 hexadecimal digits, then name and data, each aligned to 4. */
function members(archive: Buffer): { path: string; mode: number; data: string; device: number[] }[] {
  const found = [];
  for (let at = 0; at < archive.length;) {
    expect(archive.toString('latin1', at, at + 6)).toBe('070701');
    const field = (number: number): number =>
      parseInt(archive.toString('latin1', at + 6 + number * 8, at + 14 + number * 8), 16);
    const nameEnd = at + 110 + field(11);
    const dataStart = (nameEnd + 3) & ~3;
    const dataEnd = dataStart + field(6);
    found.push({
      path: archive.toString('utf8', at + 110, nameEnd - 1),
      mode: field(1),
      data: archive.toString('utf8', dataStart, dataEnd),
      device: [field(9), field(10)],
    });
    at = (dataEnd + 3) & ~3;
  }
  return found;
}
