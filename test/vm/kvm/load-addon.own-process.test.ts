import path from 'node:path';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';

// Each test loads the module anew, on a machine of its choice.
const platform = Object.getOwnPropertyDescriptor(process, 'platform')!;
const arch = Object.getOwnPropertyDescriptor(process, 'arch')!;
const { endianness } = vi.hoisted(() => ({ endianness: { value: 'LE' } }));
vi.mock(import('node:os'), async (original) => ({
  ...(await original()),
  endianness: () => endianness.value as 'LE' | 'BE',
}));

async function problemOn(machine: { platform: string; arch: string; byteOrder?: string }): Promise<unknown> {
  Object.defineProperty(process, 'platform', { value: machine.platform });
  Object.defineProperty(process, 'arch', { value: machine.arch });
  endianness.value = machine.byteOrder ?? 'LE';
  const { loadAddon } = await import('../../../lib/vm/kvm/addon.js');
  try {
    return loadAddon();
  } catch (error) {
    return error;
  }
}

describe('where the addon has no place, the error says why and what to do', () => {
  beforeEach(() => {
    vi.resetModules();
    vi.stubEnv('PREBUILDS_ONLY', undefined);
  });
  afterEach(() => {
    Object.defineProperty(process, 'platform', platform);
    Object.defineProperty(process, 'arch', arch);
    vi.unstubAllEnvs();
  });

  test.each([
    [{ platform: 'darwin', arch: 'arm64' }, 'platform', 'use the emulated backend'],
    [{ platform: 'aix', arch: 'ppc64', byteOrder: 'BE' }, 'platform', 'use the emulated backend'],
    [{ platform: 'linux', arch: 'arm64' }, 'arch', 'use the emulated backend'],
    [{ platform: 'linux', arch: 'ppc64', byteOrder: 'BE' }, 'endianness', 'run a ppc64le kernel and Node'],
  ])('on %j', async (machine, reason, hint) => {
    expect(await problemOn(machine)).toMatchObject({ code: 'ERR_HTAB_UNAVAILABLE', reason, hint });
  });

  test('on a machine of ours without a binary', async () => {
    // node-gyp-build looks where this variable points instead.
    vi.stubEnv('KVM_HTAB_PREBUILD', import.meta.dirname);
    const error = await problemOn({ platform: 'linux', arch: arch.value as string });
    expect(error).toMatchObject({
      reason: 'no-prebuild',
      hint: expect.stringContaining(`npx node-gyp rebuild -C native" in ${path.resolve('.')}`) as string,
    });
    expect((error as Error).cause).toBeInstanceOf(Error);
  });
});
