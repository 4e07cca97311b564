import { describe, expect, test } from 'vitest';
import { watch } from '../../lib/cli/watch/run.js';
import { levelsOf } from '../../lib/cli/watch/text.js';
import { drawRow } from '../../lib/cli/report/map.js';
import { Interrupted } from '../../lib/cli/interrupt.js';
import { run } from '../../lib/cli/program.js';
import { parseEmulatedSpec } from '../../lib/cli/table/emulated-spec.js';
import { captureOutput } from './capture.js';

const BUSY = '--emulated=order=18,steps=500,rate=20000';
const emulated = parseEmulatedSpec('order=18,steps=500,rate=20000', 'source');

interface PassEvent {
  readonly event: string;
  readonly pass: number;
  readonly come: number;
  readonly gone: number;
  readonly changed: number;
  readonly cells: readonly number[];
  readonly contexts: readonly { come: number; gone: number; changed: number }[];
}

const together = ({
  come,
  gone,
  changed,
}: Omit<PassEvent, 'event' | 'pass' | 'cells' | 'contexts'>): number => come + gone + changed;

describe('kvm-htab watch', () => {
  test('prints a line and a map for each pass, and at the end what was changed by whom', async () => {
    const output = captureOutput();
    expect(await run(['watch', BUSY, '--passes', '3', '--interval-ms', '50'], output)).toBe(0);
    const { text } = output.stdout;
    expect(text).toMatch(/^an emulated VM: order 18, [\d,]+ of 16,384 entries valid/);
    for (const pass of [2, 3]) {
      expect(text).toMatch(
        new RegExp(`^pass ${pass}: \\+[\\d,]+  -[\\d,]+  ~[\\d,]+ .*valid, .*\\n  [.1-9]{64}$`, 'm'),
      );
    }
    expect(text).toMatch(/^Changes in 2 passes after the first\nregion +context +came +went/m);
    expect(output.stderr.text).toBe('');
  });

  test('prints events with --json: cells, contexts and the sum at the end agree', async () => {
    const output = captureOutput();
    expect(await run(['watch', BUSY, '--passes', '4', '--interval-ms', '20', '--json'], output)).toBe(0);
    const events = output.stdout.text.trimEnd().split('\n').map((line) => JSON.parse(line) as PassEvent); // prettier-ignore
    expect(events.map(({ event }) => event)).toEqual(['pass', 'pass', 'pass', 'pass', 'done']);
    const done = events.at(-1)!;
    const later = events.slice(1, -1);
    for (const pass of later) {
      expect(pass.cells.reduce((sum, cell) => sum + cell, 0)).toBe(together(pass));
      expect(pass.contexts.reduce((sum, context) => sum + together(context), 0)).toBe(together(pass));
    }
    expect(together(done)).toBe(later.reduce((sum, pass) => sum + together(pass), 0));
    expect(together(done)).toBeGreaterThan(0);
    expect(done).toMatchObject({ passes: 4, sourceRechecked: true });
  });

  test.each([[], ['--json']])('ends once nobody reads what it prints %s', async (...json) => {
    const output = captureOutput();
    const write = output.stdout.write.bind(output.stdout);
    let lines = 0;
    output.stdout.on('error', () => undefined).write = ((chunk: string): boolean => {
      if (lines++ === 1) output.stdout.destroy(Object.assign(new Error('write EPIPE'), { code: 'EPIPE' }));
      return write(chunk);
    }) as typeof write;
    expect(await run(['watch', BUSY, '--interval-ms', '20', ...json], output)).toBe(0);
    // Those of two passes and of the end.
    expect(lines).toBe(3);
  });

  test.each([
    ['Ctrl-C is the end of a watch without a number of passes', 'SIGINT', undefined],
    ['a watch of so many passes is interrupted', 'SIGINT', 1000],
    ['SIGTERM is no regular end', 'SIGTERM', undefined],
  ] as const)('%s', async (_title, name, passes) => {
    const output = captureOutput();
    const controller = new AbortController();
    const write = output.stdout.write.bind(output.stdout);
    output.stdout.write = ((chunk: string): boolean => {
      if (chunk.startsWith('pass 2')) controller.abort(new Interrupted(name));
      return write(chunk);
    }) as typeof output.stdout.write;
    const options = { emulated, intervalMs: 1, ...(passes === undefined ? {} : { passes }) };
    const watching = watch(options, output, controller.signal);
    if (name === 'SIGINT' && passes === undefined) expect(await watching).toBe(0);
    else await expect(watching).rejects.toThrow(`ended by ${name}`);
    expect(output.stdout.text).toContain('Changes in 1 passes after the first');
  });
});

test('a map of changes has a level for each doubling, and shows a single entry', () => {
  const levels = levelsOf(Float64Array.of(0, 1, 2, 3, 4, 8, 255, 256, 100_000));
  expect(drawRow(levels, 'digits')).toBe('.12234899');
  expect(drawRow(levels, 'blocks')).toHaveLength(9);
  expect(drawRow(Float64Array.of(1), 'colour')).toBe('\u001b[48;2;253;231;37m \u001b[0m');
});
