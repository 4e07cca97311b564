import type { Column, Values } from './column.js';
import type { RowWriter, Sink } from './row-writer.js';

const ROWS_AT_ONCE = 8192;

/** Writes rows as CSV, with a line of names before them. Doublewords are in hexadecimal, as no program then rounds them. */
export class CsvRows implements RowWriter {
  readonly #sink: Sink;
  readonly #columns: readonly Column[];
  #begun = false;

  constructor(sink: Sink, columns: readonly Column[]) {
    this.#sink = sink;
    this.#columns = columns;
  }

  async write(values: readonly Values[]): Promise<void> {
    await this.#begin();
    const rows = values[0]!.length;
    for (let from = 0; from < rows; from += ROWS_AT_ONCE) {
      let text = '';
      for (let row = from; row < Math.min(from + ROWS_AT_ONCE, rows); row++) {
        text += `${this.#columns.map(({ type }, column) => cell(type, values[column]![row])).join(',')}\n`;
      }
      await this.#sink.write(Buffer.from(text));
    }
  }

  async finish(): Promise<void> {
    await this.#begin();
  }

  async #begin(): Promise<void> {
    if (this.#begun) return;
    this.#begun = true;
    await this.#sink.write(Buffer.from(`${this.#columns.map(({ name }) => name).join(',')}\n`));
  }
}

function cell(type: Column['type'], value: Values[number]): string {
  if (value === undefined) return '';
  if (type === 'hex') return `0x${value.toString(16)}`;
  if (type === 'text') return quoted(String(value));
  return String(value);
}

function quoted(text: string): string {
  return /[",\n\r]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}
