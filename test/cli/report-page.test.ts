import { readFileSync } from 'node:fs';
import { PNG } from 'pngjs';
import { describe, expect, test } from 'vitest';
import { html, jsonScript } from '../../lib/cli/report-page/html.js';
import { mapImage } from '../../lib/cli/report-page/map-image.js';
import { run } from '../../lib/cli/program.js';
import { SparseBitmap } from '../../lib/hpt/bitmap.js';
import { HptTable } from '../../lib/hpt/table.js';
import { scratchFiles } from '../scratch.js';
import { captureOutput } from './capture.js';
import { notCompiled } from './processes.js';
import { fixture, outputOf } from './reported-table.js';

const scratch = scratchFiles();

describe('the HTML of a report', () => {
  test('escapes what is not its own', () => {
    const name = `<img src="x" onerror='a()'>&\u202e`;
    expect(html`<p title="${name}">${name}</p>`.text).toBe(`<p title="${escaped}">${escaped}</p>`);
    expect(jsonScript('data', { name: '</script><script>' }).text).not.toMatch(/<\/script>./);
  });
  const escaped = '&lt;img src=&quot;x&quot; onerror=&#39;a()&#39;&gt;&amp;\\u202e';

  test('has a map whose greys are the valid entries of each group', () => {
    const table = new HptTable(18);
    for (const ptex of [0, 1, 9, 16_383]) table.set(ptex, 1n, 0n);
    const { width, height, groupsPerPixel, scale, png } = mapImage(table);
    expect({ width, height, groupsPerPixel, scale }).toEqual({
      width: 64,
      height: 32,
      groupsPerPixel: 1,
      scale: 1,
    });
    const { data } = PNG.sync.read(png);
    expect([0, 4, 8, data.length - 4].map((at) => data[at])).toEqual([2, 1, 0, 1]);
  });

  test.each([30, 36])('is under 2.5 MB for a table of order %i, also where the map is noise', (order) => {
    const { png } = mapImage({ order, valid: noise(order) } as unknown as HptTable);
    // The rest of a page, with 200 processes and as many changes, is under 200 kB.
    expect((png.length * 4) / 3 + 200_000).toBeLessThan(2_500_000);
  });
});

/** Random bits: of a table's order up to 30 everywhere, then in the first part. */
function noise(order: number): SparseBitmap {
  const valid = new SparseBitmap(2 ** (order - 4));
  let state = 1;
  const end = Math.min(valid.size, 2 ** 26);
  for (let word = 0; word < end; word += 32) {
    valid.add(word);
    state = (Math.imul(state, 1664525) + 1013904223) | 0;
    valid.blocks[word >>> 16]![(word >>> 5) & 2047] = state ^ Math.imul(state >>> 16, 0x45d9f3b);
  }
  return valid;
}

test.skipIf(notCompiled !== undefined)(
  'kvm-htab report prints what it wrote, for a program too',
  async () => {
    const [snapshot, page] = [fixture(scratch('guest.hpt')), scratch('report.html')];
    expect(await outputOf('report', snapshot, '-o', page)).toMatch(
      /^Report on the table of .*, 17,240 valid entries/,
    );
    const document = JSON.parse(await outputOf('report', snapshot, '-o', page, '--json')) as object;
    const fileBytes = readFileSync(page).length;
    expect(document).toEqual({
      source: snapshot,
      output: page,
      order: 23,
      validEntries: 17_240,
      passes: 1,
      fileBytes,
    });
    const output = captureOutput();
    expect(await run(['report', snapshot, '-o', page, '--passes', '2'], output)).toBe(2);
    expect(output.stderr.text).toContain('--passes is for a live guest');
  },
);
