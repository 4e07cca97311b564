import path from 'node:path';
import { describe, expect, test, vi } from 'vitest';
import { probeMachine } from '../../lib/cli/probe/run.js';
import { HtabUnavailableError } from '../../lib/base/errors.js';
import * as probing from '../../lib/vm/kvm/probe.js';
import { scratchFolder } from '../scratch.js';
import { captureOutput } from './capture.js';
import { execute, json } from './execute.js';

const root = scratchFolder();

describe('kvm-htab probe', () => {
  test('says what there is, and ends with 0 or 3', async () => {
    const text = await execute('probe');
    expect([0, 3]).toContain(text.code);
    expect(text.stdout.text).toMatch(/^machine +linux/);
    expect(text.stdout.text).toMatch(
      text.code === 0 ? /^kvm backend +usable$/m : /^kvm backend +not usable: /m,
    );
    const document = json(await execute('probe', '--json')) as { usable: boolean };
    expect(document.usable).toBe(text.code === 0);
    const quiet = await execute('probe', '--quiet');
    expect([quiet.code, quiet.stdout.text, quiet.stderr.text]).toEqual([text.code, '', '']);
  });

  test('gives the reason, and what to do about it, where there is no such device', async () => {
    const output = await execute('probe', '--json', '--device', path.join(root, 'kvm'));
    expect(output.code).toBe(3);
    expect(json(output)).toMatchObject({
      usable: false,
      device: path.join(root, 'kvm'),
      problem: { code: 'ERR_HTAB_UNAVAILABLE' },
    });
  });

  test('lists flavour, capabilities and page sizes of a POWER host', async () => {
    const findings: probing.ProbeResult = {
      platform: 'linux',
      arch: 'ppc64',
      byteOrder: 'LE',
      kernel: '6.12.107',
      device: '/dev/kvm',
      apiVersion: 12,
      flavour: 'hv',
      hostMmu: 'radix',
      capabilities: { ...zeroes(), PPC_HTAB_FD: 1, SPAPR_RESIZE_HPT: 1 },
      smmu: {
        pageSizesReal: true,
        has1TSegments: true,
        noHash: false,
        slbSize: 32,
        dataKeys: 32,
        instructionKeys: 32,
        segments: [
          {
            basePageShift: 12,
            slbEncoding: 0,
            pageSizes: [
              { pageShift: 12, encoding: 0 },
              { pageShift: 16, encoding: 7 },
            ],
          },
          { basePageShift: 24, slbEncoding: 0x100, pageSizes: [{ pageShift: 24, encoding: 0 }] },
          { basePageShift: 34, slbEncoding: 0x120, pageSizes: [{ pageShift: 34, encoding: 3 }] },
        ],
      },
    };
    const probe = vi.spyOn(probing, 'probe').mockResolvedValueOnce(findings);
    const output = captureOutput();
    expect(await probeMachine({ device: '/dev/kvm' }, output)).toBe(0);
    expect(output.stdout.text).toBe(`machine       linux 6.12.107, ppc64, little-endian
device        /dev/kvm, KVM API 12
flavour       hv
host MMU      radix
capabilities  PPC_HTAB_FD=1 SPAPR_RESIZE_HPT=1
page sizes    4K as 4K, 64K; 16M as 16M; 16G as 16G
kvm backend   usable
`);
    const problem = new HtabUnavailableError('no-device', 'no device', 'load the modules');
    probe.mockResolvedValueOnce({ ...findings, byteOrder: 'BE', problem });
    expect(await probeMachine({ device: '/dev/kvm' }, output)).toBe(3);
    expect(output.stdout.text).toContain('big-endian\n');
    expect(output.stdout.text).toContain('kvm backend   not usable: no device; load the modules\n');
    probe.mockRestore();
  });

  function zeroes(): Record<probing.CapabilityName, number> {
    const names = Object.keys(probing.capabilityNumbers) as probing.CapabilityName[];
    return Object.fromEntries(names.map((name) => [name, 0])) as Record<probing.CapabilityName, number>;
  }
});
