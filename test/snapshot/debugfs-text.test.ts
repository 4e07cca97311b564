import { describe, expect, test } from 'vitest';
import { compareTables } from '../../lib/hpt/compare.js';
import { HptTable } from '../../lib/hpt/table.js';
import { DebugfsText, isDebugfsText } from '../../lib/snapshot/debugfs-text.js';
import { randomTable } from '../inspect/random-table.js';
import { linuxTables } from '../inspect/support.js';
import { debugfsText } from './debugfs-writer.js';

function read(text: string, { order, chunk = 1 << 16 }: { order?: number; chunk?: number } = {}): HptTable {
  const reader = new DebugfsText('htab', order);
  const bytes = Buffer.from(text, 'latin1');
  for (let at = 0; at < bytes.length; at += chunk) reader.push(bytes.subarray(at, at + chunk));
  return reader.finish();
}

const LINE = '     1 4000000000800011 00002000000001d6 0000000000001196';
const text = `${LINE}\n${LINE.replace('1', '2')}\n`;

describe("KVM's debugfs text", () => {
  test.each(Object.entries(linuxTables))(
    'of %s gives its table and its order, from either host',
    (_, table) => {
      for (const host of ['power8', 'power9'] as const) {
        const found = read(debugfsText(table, host));
        expect([found.order, found.validCount]).toEqual([table.order, table.validCount]);
        expect(compareTables(table, found).count).toBe(0);
      }
    },
  );

  test.each([1, 2, 3])(
    'of random table %i, of both segment sizes, is the same in chunks of any length',
    (seed) => {
      const table = randomTable(seed, { healthy: true });
      for (const chunk of [1, 57, 58, 4096]) {
        const found = read(debugfsText(table, 'power9'), { chunk });
        expect([found.order, compareTables(table, found).count]).toEqual([18, 0]);
      }
    },
  );

  test('of entries that fit several orders needs the order', () => {
    const table = new HptTable(20);
    table.set(8, 0x11n, 0x1190n);
    const one = debugfsText(table, 'power8');
    expect(() => read(one)).toThrow(
      expect.objectContaining({
        code: 'ERR_HTAB_FORMAT',
        option: 'order',
        message: expect.stringContaining('the 1 entries of htab fit a table of any order in 18..') as string,
      }),
    );
    expect(compareTables(table, read(one, { order: 20 })).count).toBe(0);
  });

  test('of misplaced entries needs the order, and gives them as they are', () => {
    const table = randomTable(4, { readable: true });
    const strange = debugfsText(table, 'power9');
    expect(() => read(strange)).toThrow(/are in no table where their addresses hash to/);
    expect(compareTables(table, read(strange, { order: 18 })).count).toBe(0);
  });

  test.each([
    [text.slice(0, -1), 2, 'the text ends inside it'],
    [`${text}\n`, 3, 'it has another length'],
    [text.replace('\n', 'x\n'), 1, 'its columns are not separated by spaces'],
    [text.replace('8000', '80g0'), 1, 'it has something else than hexadecimal digits'],
    [text.replace('     1', '    -1'), 1, 'it has something else than hexadecimal digits'],
    [text.replace('11 ', '10 '), 1, 'its entry is neither valid nor absent'],
    [`${LINE}\n${LINE}\n`, 2, 'entry 1 does not follow entry 1'],
    [text.replace('     2', '  4000'), 2, 'a table of order 18 has no entry 16384; its last is 16383'],
    ['1'.repeat(100), 1, 'it is too long'],
  ])('refuses %j, and names the line', (wrong, line, reason) => {
    expect(() => read(wrong, { order: 18 })).toThrow(
      expect.objectContaining({
        code: 'ERR_HTAB_FORMAT',
        recordIndex: line - 1,
        message: `htab: line ${line} is not one of KVM's debugfs text: ${reason} (line ${line} at byte ${(line - 1) * 58})`,
      }),
    );
  });

  test('is told by its first bytes', () => {
    expect(
      [
        LINE,
        `c0ffee${LINE.slice(6)}`,
        `c0ffee01${LINE.slice(6)}`,
        'QEVM',
        LINE.toUpperCase().replace('0', 'X'),
      ].map((begin) => isDebugfsText(Buffer.from(begin.slice(0, 16), 'latin1'))),
    ).toEqual([true, true, true, false, false]);
  });
});
