// What kernel-abi.md says first and last, its traps and its golden vectors, is tested on the real kernel and on the
// emulation. A title cites what it tests: `(0 #n)` a trap, `(11 #n)` a vector.
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { expect, test } from 'vitest';
import { packageRoot } from '../../lib/base/package-root.js';
import { conformanceCases, reasonToSkip } from '../../lib/testing/conformance.js';
import type { ConformanceBackend, ConformanceCase } from '../../lib/testing/conformance/context.js';
import { emulatedBackend } from '../../lib/testing/emulated-backend.js';
import { type Configuration, parseOptions } from '../../scripts/power/options.mjs';
import { kernelBackends } from '../power/conformance.js';
import type { Host } from '../power/host.js';

const read = (file: string): string => readFileSync(path.join(packageRoot(), file), 'utf8');
const abi = read('lib/vm/kernel-abi.md');
/** Between the headings of two sections. */
const section = (from: string, to: string): string => abi.slice(abi.indexOf(from), abi.indexOf(to));
const numbers = (text: string, pattern: RegExp): number[] =>
  [...text.matchAll(pattern)].map(([, n]) => Number(n));
const traps = numbers(section('## 0. ', '## 1. '), /^(\d+)\. /gm).map((n) => `0 #${n}`);
const vectors = numbers(section('## 11. ', '## 12. '), /^\| (\d+) \|/gm).map((n) => `11 #${n}`);

/** Another process, which an emulated VM does not have: only test/power/descriptors.ts can ask the kernel. */
const OF_ANOTHER_PROCESS = '11 #22';

const citations = ({ section: cited }: ConformanceCase): string[] => cited.split(', ');
const runsOn = (backend: ConformanceBackend, each: ConformanceCase): boolean =>
  reasonToSkip(each, backend) === undefined;

test('kernel-abi.md has its twelve traps and 22 vectors', () => {
  expect(traps).toHaveLength(12);
  expect(vectors).toHaveLength(22);
});

test('every trap and vector is tested on the emulation', () => {
  const backends = (['power8', 'power9'] as const).map((host) => emulatedBackend({ host }));
  const cases = conformanceCases.filter((each) => backends.some((backend) => runsOn(backend, each)));
  const missing = [...traps, ...vectors].filter((each) => !cases.flatMap(citations).includes(each));
  expect(missing).toEqual([OF_ANOTHER_PROCESS]);
});

test('every trap and vector is tested on the real kernel, by one of the machines of the rig', () => {
  const machines = parseOptions([]).configurations.map(hostOf).map(kernelBackends);
  const cases = conformanceCases.filter((each) =>
    machines.some((backendOf) => runsOn(backendOf(each), each)),
  );
  const missing = [...traps, ...vectors].filter((each) => !cases.flatMap(citations).includes(each));
  expect(missing).toEqual([OF_ANOTHER_PROCESS]);
  expect(read('test/power/descriptors.ts')).toContain(`(${OF_ANOTHER_PROCESS})'`);
});

test('no title cites what is not there', () => {
  const cited = conformanceCases.flatMap(citations).filter((each) => each.includes('#'));
  expect(cited.filter((each) => ![...traps, ...vectors].includes(each))).toEqual([]);
});

function hostOf({ machine, hashHost, kernel }: Configuration): Host {
  const processor = machine === 'powernv8' ? 'power8' : 'power9';
  const mmu = processor === 'power8' || hashHost ? 'hash' : 'radix';
  return { processor, mmu, pageShift: kernel === '6.1' ? 16 : 12, isPreemptible: false };
}
