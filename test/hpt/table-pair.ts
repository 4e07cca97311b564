import fc from 'fast-check';
import { expect } from 'vitest';
import { HptTable } from '../../lib/hpt/table.js';

/** vHigh, vLow, rHigh, rLow. */
type Halves = readonly [number, number, number, number];

/** Four words that no other seed gives. */
export function halvesOf(seed: number): Halves {
  return [seed, Math.imul(seed, 0x9e3779b1) >>> 0, ~seed >>> 0, Math.imul(seed + 1, 0x85ebca6b) >>> 0];
}

/** HPTEs as they travel, big-endian, seen as doublewords; `lead` doublewords of something else before them. */
export function wireLongs(entries: readonly Halves[], lead = 0): BigUint64Array {
  const bytes = new DataView(new ArrayBuffer(lead * 8 + entries.length * 16));
  for (const [entry, halves] of entries.entries()) {
    for (const [half, value] of halves.entries()) bytes.setUint32(lead * 8 + entry * 16 + half * 4, value);
  }
  return new BigUint64Array(bytes.buffer);
}

/** What `load` says of entries in a row; undefined for one that is not valid. */
export function loadRun(table: HptTable, ptex: number, count: number): (readonly number[] | undefined)[] {
  const out = new Uint32Array(4);
  return Array.from({ length: count }, (_, i) => (table.load(ptex + i, out) ? [...out] : undefined));
}

type Step =
  | { do: 'store' | 'remove' | 'mark' | 'unmark'; at: number; seed: number }
  | { do: 'applyRun' | 'removeRun' | 'markRun' | 'unmarkRun'; at: number; count: number; seed: number };

/** A step near one of the given places: many of them make runs that overlap, join and split. */
export function stepNear(places: readonly number[], entryCount: number): fc.Arbitrary<Step> {
  const at = fc
    .tuple(fc.constantFrom(...places), fc.integer({ min: -70, max: 140 }))
    .map(([place, offset]) => Math.min(entryCount - 1, Math.max(0, place + offset)));
  const seed = fc.integer({ min: 0, max: 0xffffffff });
  return fc.oneof(
    fc.record({ do: fc.constantFrom('store', 'remove', 'mark', 'unmark'), at, seed }),
    fc
      .record({
        do: fc.constantFrom('applyRun', 'removeRun', 'markRun', 'unmarkRun'),
        at,
        count: fc.integer({ min: 1, max: 140 }),
        seed,
      })
      .map((step) => ({ ...step, count: Math.min(step.count, entryCount - step.at) })),
  );
}

/** A table and what a plain Map and Set make of the same steps. */
export class Pair {
  readonly table: HptTable;
  readonly entries = new Map<number, Halves>();
  readonly marks = new Set<number>();

  constructor(order: number) {
    this.table = new HptTable(order);
  }

  run(step: Step): void {
    const { table, entries, marks } = this;
    const { at } = step;
    const range = Array.from({ length: 'count' in step ? step.count : 1 }, (_, i) => at + i);
    const values = range.map((_, i) => halvesOf((step.seed + i) >>> 0));
    switch (step.do) {
      case 'store':
        table.store(at, ...values[0]!);
        entries.set(at, values[0]!);
        break;
      case 'applyRun':
        table.applyRecord(at, range.length, 0, wireLongs(values, step.seed % 4), step.seed % 4);
        for (const [i, ptex] of range.entries()) entries.set(ptex, values[i]!);
        break;
      case 'remove':
        expect(table.remove(at)).toBe(entries.delete(at));
        break;
      case 'removeRun':
        expect(table.removeRun(at, range.length)).toBe(range.filter((ptex) => entries.delete(ptex)).length);
        break;
      case 'mark':
        expect(table.dirty.add(at)).toBe(!marks.has(at));
        marks.add(at);
        break;
      case 'unmark':
        expect(table.dirty.delete(at)).toBe(marks.delete(at));
        break;
      case 'markRun':
        table.dirty.addRange(at, at + range.length);
        for (const ptex of range) marks.add(ptex);
        break;
      case 'unmarkRun':
        expect(table.dirty.deleteRange(at, at + range.length)).toBe(
          range.filter((ptex) => marks.delete(ptex)).length,
        );
    }
  }

  /** Compares every entry and mark, seen through every way to read them. */
  check(): void {
    const { table, entries, marks } = this;
    const expected = [...entries.keys()].sort((a, b) => a - b);
    expect(table.validCount).toBe(entries.size);
    expect(walk(table.valid, table.entryCount)).toEqual(expected);
    expect(table.dirty.count).toBe(marks.size);
    expect(walk(table.dirty, table.entryCount)).toEqual([...marks].sort((a, b) => a - b));

    const out = new Uint32Array(4);
    const loaded = expected.map((ptex) => (table.load(ptex, out) ? [...out] : undefined));
    expect(loaded).toEqual(expected.map((ptex) => [...entries.get(ptex)!]));
    const ofWords = ([vHigh, vLow, rHigh, rLow]: Halves) => ({
      v: (BigInt(vHigh) << 32n) | BigInt(vLow),
      r: (BigInt(rHigh) << 32n) | BigInt(rLow),
    });
    expect([...table]).toEqual(expected.map((ptex) => [ptex, ofWords(entries.get(ptex)!)]));
    const wrong = expected
      .flatMap((ptex) => [ptex - 1, ptex + 1])
      .filter((ptex) => ptex >= 0 && ptex < table.entryCount)
      .filter((ptex) => table.has(ptex) !== entries.has(ptex) || table.dirty.has(ptex) !== marks.has(ptex));
    expect(wrong).toEqual([]);
  }
}

export function walk(bits: { next(from: number): number }, end: number): number[] {
  const found: number[] = [];
  for (let index = bits.next(0); index < end; index = bits.next(index + 1)) found.push(index);
  return found;
}
