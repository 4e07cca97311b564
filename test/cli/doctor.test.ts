import { describe, expect, test } from 'vitest';
import { examine } from '../../lib/cli/doctor/examine.js';
import { hasMemoryFor, parseMeminfo } from '../../lib/cli/doctor/host-memory.js';
import { mayHang } from '../../lib/cli/doctor/preemption.js';
import { TRAPS } from '../../lib/cli/doctor/traps.js';
import { run } from '../../lib/cli/program.js';
import { emulatedBackend } from '../../lib/testing/emulated-backend.js';
import { EmulatedVm } from '../../lib/vm/emulated/emulated-vm.js';
import { captureOutput } from './capture.js';

interface Document {
  readonly passed: number;
  readonly untried: number;
  readonly differences: readonly unknown[];
  readonly hasMemory: boolean;
  readonly mayHang: boolean;
  readonly traps: readonly { readonly trap: number; readonly verdict: string; readonly reason?: string }[];
}

async function doctor(...args: string[]): Promise<{ code: number; document: Document }> {
  const output = captureOutput();
  const code = await run(['doctor', '--json', ...args], output);
  return { code, document: JSON.parse(output.stdout.text) as Document };
}

const verdicts = ({ traps }: Document, verdict: string): number[] =>
  traps.filter((each) => each.verdict === verdict).map(({ trap }) => trap);

describe('kvm-htab doctor', () => {
  test.each([
    ['power9', [2, 5, 10, 12]],
    ['power8', [2, 4, 5, 10, 12]],
  ])('finds the emulated %s as known, and says why traps %j are not tried', async (host, untried) => {
    const { code, document } = await doctor(`--emulated=host=${host}`);
    expect(code).toBe(0);
    expect(document.differences).toEqual([]);
    expect(document).toMatchObject({ hasMemory: true, mayHang: false });
    expect(verdicts(document, 'untried')).toEqual(untried);
    expect(verdicts(document, 'as known')).toHaveLength(TRAPS.length - untried.length);
    const silent = document.traps.filter(({ verdict, reason }) => verdict === 'untried' && !reason);
    expect(silent).toEqual([]);
  });

  test.each([
    ['power9', '#1 SMP PREEMPT Debian 7.2.13-1 (2026-10-28)', true],
    ['power9', '#1 SMP PREEMPT_DYNAMIC', true],
    ['power9', '#1 SMP Debian 6.12.95-1~bpo12+1 (2026-07-05)', false],
    ['power8', '#1 SMP PREEMPT Debian 7.2.13-1 (2026-10-28)', false],
  ] as const)('on a %s with the kernel %s says that it can hang: %s', (processor, build, hangs) => {
    expect(mayHang(processor, build)).toBe(hangs);
  });

  test('fails where there is no memory for the table', async () => {
    const { code, document } = await doctor('--emulated', '--order', '46');
    expect(code).toBe(1);
    expect(document.hasMemory).toBe(false);
  });

  test('frees what it allocated for a try', async () => {
    const vm = new EmulatedVm();
    expect(await hasMemoryFor(vm, 24)).toBe(true);
    await expect(vm.allocateHpt(18)).rejects.toMatchObject({ state: 'closed' });
  });
});

test('a kernel that does otherwise is found out, with its trap', async () => {
  const kernel = emulatedBackend({ host: 'power9' });
  // Taken for a POWER8, it should keep all of v.
  const others = kernel.capabilities.filter((each) => each !== 'power9');
  const found = await examine({ ...kernel, capabilities: [...others, 'power8'] }, idle(), () => undefined);
  expect(found.differences).not.toEqual([]);
  expect(found.passed + found.untried + found.differences.length).toBeGreaterThan(100);
  const stripped = { ...kernel, capabilities: kernel.capabilities.filter((each) => each !== 'lock-bit') };
  const { differences } = await examine(stripped, idle(), () => undefined);
  expect(differences.length).toBeGreaterThan(10);
});

test('an interrupted examination ends between two questions', async () => {
  const controller = new AbortController();
  const asked: number[] = [];
  const examining = examine(emulatedBackend(), controller.signal, (done) => {
    asked.push(done);
    if (done === 3) controller.abort(new Error('enough'));
  });
  await expect(examining).rejects.toThrow('enough');
  expect(asked).toEqual([0, 1, 2, 3]);
});

test('the memory of a host is read from what the kernel says, and missing where it says nothing', () => {
  const meminfo = `MemTotal:       16777216 kB
CmaTotal:         851968 kB
CmaFree:          524288 kB
HugePages_Total:      12
HugePages_Free:        5
Hugepagesize:      16384 kB
`;
  expect(parseMeminfo(meminfo)).toEqual({
    contiguous: { total: 851_968 * 1024, free: 524_288 * 1024 },
    hugePages: { size: 2 ** 24, total: 12, free: 5 },
  });
  expect(parseMeminfo('MemTotal: 1 kB\n')).toEqual({ contiguous: undefined, hugePages: undefined });
});

const idle = (): AbortSignal => new AbortController().signal;
