import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { HptTable } from '../../lib/hpt/table.js';
import { EmulatedVm } from '../../lib/vm/emulated/emulated-vm.js';
import { firstEntryLostOn, hostFromCpuInfo, thisHost } from '../../lib/vm/host.js';
import { loadTable } from '../../lib/io/table-writer.js';

describe('entries that a host does not keep (3.1)', () => {
  test('are those, on POWER9, whose v has one of bits 52 to 61 set; on POWER8 there are none', () => {
    for (let bit = 7n; bit < 63n; bit++) {
      const table = new HptTable(18);
      table.set(5, 0x11n, 0x190n);
      table.set(9, 0x11n | (1n << bit), 0x190n);
      table.set(12, 0x11n | (1n << bit), 0x190n);
      expect(firstEntryLostOn('power9', table), `bit ${bit}`).toBe(bit >= 52n && bit <= 61n ? 9 : undefined);
      expect(firstEntryLostOn('power8', table)).toBeUndefined();
    }
  });

  test('are those that the emulated hosts give back otherwise', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.constantFrom('power8', 'power9'),
        fc.array(fc.tuple(fc.nat(16_383), fc.bigInt(0n, (1n << 62n) - 1n)), { maxLength: 8 }),
        async (host, entries) => {
          const table = new HptTable(18);
          for (const [ptex, v] of entries) table.set(ptex, (v & ~0x7fn) | 0x11n, 0x190n);
          const vm = new EmulatedVm({ host });
          await loadTable(vm, table);
          let changed: number | undefined;
          for (let ptex = table.valid.next(0); ptex < 16_384; ptex = table.valid.next(ptex + 1)) {
            if (vm.table!.get(ptex)!.v !== (table.get(ptex)!.v | 0x40n)) changed ??= ptex;
          }
          expect(firstEntryLostOn(host, table)).toBe(changed);
        },
      ),
      { numRuns: 40 },
    );
  });
});

test.each([
  ['processor\t: 0\ncpu\t\t: POWER8E (raw), altivec supported\nclock\t\t: 3425MHz\n', 'power8'],
  ['processor\t: 0\ncpu\t\t: POWER8NVL (raw), altivec supported\n', 'power8'],
  ['processor\t: 0\ncpu\t\t: POWER9, altivec supported\n', 'power9'],
  ['processor\t: 0\ncpu\t\t: POWER10 (architected), altivec supported\n', 'power9'],
  ['processor\t: 0\ncpu\t\t: POWER7 (raw), altivec supported\n', undefined],
  ['model name\t: Intel(R) Xeon(R)\ncpu cores\t: 2\n', undefined],
  ['', undefined],
])('a machine with /proc/cpuinfo %j is of kind %s', (text, host) => {
  expect(hostFromCpuInfo(text)).toBe(host);
});

test.skipIf(process.arch === 'ppc64')('a machine that is not POWER is of no kind', async () => {
  expect(await thisHost()).toBeUndefined();
});
