import type { Column, Values } from './column.js';

/** Memory outside of V8's heap, which lets four times as much gather as lives before it collects. */
const MEMORY = {
  hex: BigUint64Array,
  long: BigUint64Array,
  'unsigned index': Float64Array,
  index: Float64Array,
  int: Int32Array,
} as const;

/** Values of a column, filled anew for every batch of rows. */
export class ColumnValues {
  readonly #memory: BigUint64Array | Float64Array | Int32Array | undefined;
  /** Of flags and text, and from the first absent value of a batch on: `#memory` has no place for it. */
  #list: Values[number][] | undefined;

  /** @param rows most rows of a batch */
  constructor(type: Column['type'], rows: number) {
    if (type === 'flag' || type === 'text') this.#list = [];
    else this.#memory = new MEMORY[type](rows);
  }

  /** @param row 0 begins a batch; each next row follows */
  set(row: number, value: Values[number]): void {
    if (row === 0 && this.#memory !== undefined) this.#list = undefined;
    if (value === undefined) this.#list ??= Array.from<Values[number]>(this.#memory!.subarray(0, row));
    if (this.#list === undefined) this.#memory![row] = value as never;
    else this.#list[row] = value;
  }

  /** @param rows how many were set */
  take(rows: number): Values {
    if (this.#list === undefined) return this.#memory!.subarray(0, rows);
    this.#list.length = rows;
    return this.#list;
  }
}
