import { expect, test } from 'vitest';
import { versionFaults } from '../../scripts/native/symbol-versions.mjs';

const needs = (...names: string[]): string =>
  [
    "Version needs section '.gnu.version_r' contains 1 entry:",
    ` 000000: Version: 1  File: libc.so.6  Cnt: ${names.length}`,
    ...names.map((name, at) => `  0x${at}0: Name: ${name}  Flags: none  Version: ${at + 2}`),
  ].join('\n');

test('versions that old systems have are no fault of an addon', () => {
  expect(
    versionFaults(needs('GLIBC_2.17', 'GLIBC_2.2.5', 'GLIBCXX_3.4.25', 'CXXABI_1.3', 'GCC_3.0')),
  ).toEqual([]);
});

test.each(['GLIBC_2.29', 'GLIBC_2.100', 'GLIBCXX_3.4.26', 'CXXABI_1.3.12', 'CXXABI_2.0'])(
  '%s is newer than they have',
  (name) => {
    expect(versionFaults(needs('GLIBC_2.17', name))).toEqual([
      expect.stringMatching(`^it needs ${name}, newer than`),
    ]);
  },
);

test.each(['GLIBC_ABI_DT_RELR', 'GLIBC_PRIVATE', 'CXXABI_TM_1', 'LIBFOO_1.0', 'FOO', 'GLIBC_2.x'])(
  '%s, which cannot be told old from new, is a fault',
  (name) => {
    expect(versionFaults(needs(name, 'GLIBC_2.17'))).toEqual([
      `it needs ${name}, which is no version known here`,
    ]);
  },
);
