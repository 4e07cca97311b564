import { describe, expect, test } from 'vitest';
import { drawMap, mapStyleOf } from '../../../lib/cli/report/map.js';
import { HptTable } from '../../../lib/hpt/table.js';
import { tableMap } from '../../../lib/inspect/table-map.js';

describe('a map of a table', () => {
  test('gives the share of each part that is valid', () => {
    const table = new HptTable(18);
    for (let ptex = 0; ptex < 8192; ptex++) table.set(ptex, 0x1n, 0n);
    table.set(16_383, 0x1n, 0n);
    expect([...tableMap(table, 4)]).toEqual([1, 1, 0, 1 / 4096]);
    expect(tableMap(table, 512)[511]).toBe(1 / 32);
  });

  test.each([
    ['digits', '.0134\n5799.\n. empty, 0 to 9: valid share in tenths\n'],
    ['blocks', ' ▁▂▃▄\n▅▇██\nvalid share: ▁▂▃▄▅▆▇█ up to all\n'],
  ] as const)('as %s shows nothing apart from a little, and a lot apart from all', (style, drawn) => {
    const shares = Float64Array.of(0, 0.001, 0.15, 0.37, 0.45, 0.55, 0.78, 0.99, 1, 0);
    expect(drawMap(shares, 5, style)).toBe(drawn);
  });

  test('in colour draws two rows as one line', () => {
    const [line, scale] = drawMap(Float64Array.of(0, 1, 0.5, 0), 2, 'colour').split('\n');
    expect(line).toBe(
      '\u001b[38;2;24;24;24;48;2;33;145;140m▀\u001b[38;2;253;231;37;48;2;24;24;24m▀\u001b[0m',
    );
    expect(scale).toMatch(/^valid share: 0 .* 1$/);
  });

  test.each([
    [true, { COLORTERM: 'truecolor' }, 'colour'],
    [true, { COLORTERM: '' }, 'blocks'],
    [true, { COLORTERM: 'truecolor', NO_COLOR: '1' }, 'digits'],
    [true, { COLORTERM: 'truecolor', NO_COLOR: '' }, 'colour'],
    [false, { COLORTERM: 'truecolor' }, 'digits'],
  ] as const)('on a terminal (%s) with %j is drawn as %s', (isTTY, environment, style) => {
    expect(mapStyleOf({ isTTY }, environment)).toBe(style);
  });
});
