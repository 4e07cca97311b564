import { describe, expect, test } from 'vitest';
import {
  conformanceCases,
  reasonToSkip,
  runCase,
  runConformance,
  titleOf,
} from '../../lib/testing/conformance.js';
import type { ConformanceBackend } from '../../lib/testing/conformance/context.js';
import { emulatedBackend } from '../../lib/testing/emulated-backend.js';
import { FaultScript, type Fault } from '../../lib/testing/faults.js';
import { ImageVm } from '../../lib/vm/image/image-vm.js';

const image: ConformanceBackend = {
  name: 'image',
  capabilities: ['bounded-write', 'power8'],
  createVm: () => new ImageVm(),
};

function faulty(...faults: readonly Fault[]): ConformanceBackend {
  return { ...image, createVm: () => new FaultScript(faults).wrapVm(new ImageVm()) };
}

describe('the suite without a test runner', () => {
  test('it reports every case once, in order: passed, or skipped with the reason', async () => {
    const seen: string[] = [];
    const results = await runConformance(image, ({ title }) => seen.push(title));
    expect(seen).toEqual(conformanceCases.map(titleOf));
    expect(results.map(({ title }) => title)).toEqual(seen);
    expect(results.filter(({ outcome }) => outcome === 'failed')).toEqual([]);
    const skipped = results.filter(({ outcome }) => outcome === 'skipped');
    expect(skipped.length).toBeGreaterThan(20);
    for (const { reason } of skipped) expect(reason).toMatch(/^image has no /);
  });

  test('a case is skipped for each capability that is missing', () => {
    const needy = {
      name: 'n',
      section: '0',
      requires: ['vcpu', 'power8'],
      run: () => Promise.resolve(),
    } as const;
    expect(reasonToSkip(needy, image)).toBe('image has no vcpu');
    expect(reasonToSkip(needy, { ...image, capabilities: [] })).toBe('image has no vcpu, power8');
    expect(reasonToSkip(needy, { ...image, capabilities: ['vcpu', 'power8'] })).toBeUndefined();
  });
});

describe('a capability that does not exist', () => {
  const misspelt = { ...image, capabilities: ['vcpus' as 'vcpu'] };
  const refusal: unknown = expect.objectContaining({
    name: 'TypeError',
    code: 'ERR_INVALID_ARG_VALUE',
    message: expect.stringContaining('Received vcpus') as string,
  });

  test('is refused, and its cases are not skipped without a word', async () => {
    await expect(runConformance(misspelt)).rejects.toEqual(refusal);
    await expect(runCase(conformanceCases[0]!, misspelt)).rejects.toEqual(refusal);
    expect(() => reasonToSkip(conformanceCases[0]!, misspelt)).toThrow(refusal);
  });
});

describe('a failure says what it may have to do with the capabilities declared:', () => {
  const emulated = emulatedBackend();
  const without = (missing: string): ConformanceBackend => ({
    ...emulated,
    capabilities: emulated.capabilities.filter((each) => each !== missing),
  });
  const failuresOf = async (backend: ConformanceBackend): Promise<Error[]> => {
    const results = await runConformance(backend);
    return results.filter(({ outcome }) => outcome === 'failed').map(({ error }) => error as Error);
  };

  test('lock-bit, which is there and not declared', async () => {
    const failures = await failuresOf(without('lock-bit'));
    expect(failures.length).toBeGreaterThan(10);
    const hint =
      "It passes with the capability 'lock-bit': this backend's entries carry v bit 0x40, so declare it.";
    for (const { message, stack } of failures) {
      expect(
        message.endsWith(`
${hint}`),
      ).toBe(true);
      expect(stack).toContain(hint);
    }
  });

  test('lock-bit, which is declared and not there', async () => {
    const [first] = await failuresOf({ ...image, capabilities: [...image.capabilities, 'lock-bit'] });
    expect(first?.message).toMatch(
      /\nIt passes without the capability 'lock-bit': .* so do not declare it\.$/,
    );
  });

  test('the one without which the case would not run', async () => {
    const failures = await failuresOf({ ...emulated, capabilities: ['lock-bit', 'power8'] });
    expect(failures.map(({ message }) => message.split('\n').at(-1))).toEqual([
      'This case runs because the backend declares power8.',
    ]);
  });

  test('one that needs a guest which can do more', async () => {
    const backend: ConformanceBackend = {
      ...emulated,
      guestOf: (vm) => ({ ...emulated.guestOf!(vm), access: undefined as never }),
    };
    const [first] = await failuresOf(backend);
    expect(first?.message).toContain(
      "declares 'vcpu', and its guest has no access(): give it one, or do not declare it",
    );
  });

  test('none where it has nothing to do with them', async () => {
    const error: unknown = await runCase(
      conformanceCases[0]!,
      faulty({ kind: 'answer', call: 'read', result: 0, times: Infinity }),
    ).catch((reason: unknown) => reason);
    expect((error as Error).message).not.toMatch(/capability|declare/);
  });
});

describe('emulatedBackend', () => {
  test.each([
    [{}, 'emulated POWER9 with 64K pages', 'power9'],
    [{ host: 'power8', pageShift: 12 }, 'emulated POWER8 with 4K pages', 'power8'],
  ] as const)('%j names itself and what it is', async (options, name, host) => {
    const backend = emulatedBackend(options);
    expect(backend.name).toBe(name);
    expect(backend.capabilities).toContain(host);
    expect(backend.capabilities.includes('radix')).toBe(host === 'power9');
    await using vm = await backend.createVm();
    expect(vm).toMatchObject({ backend: 'emulated', hptOrder: undefined });
  });

  test('has a guest of its own VMs only', () => {
    expect(() => emulatedBackend().guestOf!(new ImageVm())).toThrow(TypeError);
  });
});

describe('the suite notices', () => {
  const wrong: readonly (readonly [string, Fault, number])[] = [
    ['reads that return nothing', { kind: 'answer', call: 'read', result: 0, times: Infinity }, 50],
    ['writes that are not made', { kind: 'answer', call: 'write', result: 24, times: Infinity }, 40],
    ['a wrong errno', { kind: 'errno', call: 'write', errno: 'EPERM', applied: true, times: Infinity }, 40],
    ['a second read that is lost', { kind: 'answer', call: 'read', nth: 2, result: 0 }, 8],
    [
      'a buffer taken for one byte shorter',
      { kind: 'short', call: 'read', maxBytes: 4095, times: Infinity },
      1,
    ],
    ['a descriptor that cannot be opened', { kind: 'errno', call: 'openHtab', errno: 'EMFILE' }, 60],
  ];
  test.each(wrong)('%s', async (_name, fault, least) => {
    const results = await runConformance(faulty(fault));
    const failed = results.filter(({ outcome }) => outcome === 'failed');
    expect(failed.length).toBeGreaterThanOrEqual(least);
  });
});
