import assert from 'node:assert/strict';
import { readFileSync, statSync } from 'node:fs';
import { constants, endianness, version } from 'node:os';
import { resolve } from 'node:path';
import { encode, record, removal, render, run } from '../../lib/testing/conformance/stream.js';
import { loadAddon } from '../../lib/vm/kvm/addon.js';
import { KvmVm } from '../../lib/vm/kvm/kvm-vm.js';
import { probe } from '../../lib/vm/kvm/probe.js';
import type { Test } from './runner.js';

const { EINVAL } = constants.errno;

/** The machine that the suites run on, as far as answers depend on it. */
export interface Host {
  readonly processor: 'power8' | 'power9';
  readonly mmu: 'hash' | 'radix';
  /** log2 of the page size: 16 on Linux 6.1, 12 on all others. */
  readonly pageShift: number;
  /** The kernel may take the CPU from a thread that runs in it. */
  readonly isPreemptible: boolean;
}

/** @throws Error where this is no machine the suites know */
export function describeHost(): Host {
  const cpuInfo = readFileSync('/proc/cpuinfo', 'utf8');
  const processor = /^cpu\s*: POWER([89])/m.exec(cpuInfo)?.[1];
  const pageKiB = /^KernelPageSize:\s*(\d+) kB/m.exec(readFileSync('/proc/self/smaps', 'utf8'))?.[1];
  if (processor === undefined || pageKiB === undefined) throw new Error(`what machine is this?\n${cpuInfo}`);
  return {
    processor: processor === '8' ? 'power8' : 'power9',
    mmu: /^MMU\s*: Radix/m.test(cpuInfo) ? 'radix' : 'hash',
    pageShift: 10 + Math.log2(Number(pageKiB)),
    isPreemptible: /\bPREEMPT/.test(version()),
  };
}

/** What the kernel says of itself, and what the package makes of it. */
export function hostSuite(test: Test, host: Host): void {
  test('the machine is little-endian POWER with KVM', () => {
    assert.equal(process.arch, 'ppc64');
    assert.equal(endianness(), 'LE');
    assert.ok(statSync('/dev/kvm').isCharacterDevice());
  });

  test('the addon is the binary that the package ships', () => {
    loadAddon();
    const { sharedObjects } = process.report.getReport() as { readonly sharedObjects: readonly string[] };
    const addons = sharedObjects.filter((file) => file.endsWith('.node'));
    assert.deepEqual(addons, [resolve('prebuilds/linux-ppc64/node.napi.glibc.node')]);
  });

  test('probe() finds KVM-HV and its capabilities (1.3)', async () => {
    const { problem, ...findings } = await probe();
    assert.equal(problem, undefined);
    assert.equal(findings.apiVersion, 12);
    assert.equal(findings.flavour, 'hv');
    assert.equal(findings.hostMmu, host.mmu);
    const { capabilities } = findings;
    assert.ok(capabilities);
    assert.equal(capabilities.PPC_HTAB_FD, 1);
    assert.equal(capabilities.PPC_ALLOC_HTAB, 1);
    assert.equal(capabilities.SPAPR_RESIZE_HPT, 1);
    assert.equal(capabilities.PPC_MMU_RADIX, host.mmu === 'radix' ? 1 : 0);
    // Old POWER9 silicon, which the machine is, cannot run hashed guests of its own choice on a radix host.
    assert.equal(capabilities.PPC_MMU_HASH_V3, host.processor === 'power9' && host.mmu === 'hash' ? 1 : 0);
  });

  test('GET_SMMU_INFO tells the page sizes that every kernel has told (1.4)', async () => {
    await using vm = await KvmVm.create();
    const info = await vm.getSmmuInfo();
    assert.deepEqual(
      info.segments.map(({ basePageShift, slbEncoding, pageSizes }) => ({
        basePageShift,
        slbEncoding,
        pageSizes: pageSizes.map(({ pageShift, encoding }) => [pageShift, encoding]),
      })),
      [
        {
          basePageShift: 12,
          slbEncoding: 0,
          pageSizes: [
            [12, 0],
            [24, 0x38],
          ],
        },
        {
          basePageShift: 16,
          slbEncoding: 0x110,
          pageSizes: [
            [16, 1],
            [24, 8],
          ],
        },
        { basePageShift: 24, slbEncoding: 0x100, pageSizes: [[24, 0]] },
      ],
    );
    const { pageSizesReal, has1TSegments, noHash, slbSize, dataKeys, instructionKeys } = info;
    assert.deepEqual(
      { pageSizesReal, has1TSegments, noHash, slbSize, dataKeys, instructionKeys },
      {
        pageSizesReal: true,
        has1TSegments: true,
        noHash: false,
        slbSize: 32,
        dataKeys: 32,
        instructionKeys: 32,
      },
    );
  });

  if (host.mmu === 'radix')
    test('a new VM on a radix host is a radix guest: reads are 0 and burn nothing, every write is EINVAL (0 #9)', async () => {
      await using vm = await KvmVm.create();
      await using reader = await vm.openHtab();
      await using writer = await vm.openHtab({ access: 'write' });
      const buffer = new Uint8Array(4096);
      assert.equal(await reader.read(buffer), 0);
      await assert.rejects(writer.write(new Uint8Array(0)), { errnoName: 'EINVAL' });
      await vm.allocateHpt(18);
      assert.equal(await reader.read(buffer), 8);
      assert.equal(Buffer.from(buffer.subarray(0, 8)).toString('hex'), '0000000000000040');
    });

  test('the addon itself refuses orders for which the kernel would free the table or crash (contract, 0 #5)', async () => {
    const addon = loadAddon();
    const kvm = await addon.openKvm('/dev/kvm');
    const vm = await addon.createVm(kvm, 1);
    for (const order of [0, 17, 47]) await assert.rejects(addon.allocateHtab(vm, order), { errno: EINVAL });
    assert.equal(await addon.allocateHtab(vm, 18), 18);
    const writer = await addon.getHtabFd(vm, 2, 0);
    await addon.write(writer, encode(run(9, 1)));
    for (const order of [0, 17, 47]) await assert.rejects(addon.allocateHtab(vm, order), { errno: EINVAL });
    const reader = await addon.getHtabFd(vm, 0, 0);
    const buffer = new Uint8Array(4096);
    const length = await addon.read(reader, buffer);
    const kept = [removal(0, 9), record(9, [[0x41n, 0x190n]], 16_374)];
    assert.deepEqual(render(buffer.subarray(0, length)), render(encode(...kept)));
    for (const each of [reader, writer, vm, kvm]) await each.close();
  });
}
