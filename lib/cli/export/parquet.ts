import { ByteWriter, ParquetWriter, type KeyValue, type SchemaElement } from 'hyparquet-writer';
import type { Column, Values } from './column.js';
import type { RowWriter, Sink } from './row-writer.js';

/** Parquet's own type of each. */
const TYPES: Readonly<Record<Column['type'], Pick<SchemaElement, 'type' | 'converted_type'>>> = {
  hex: { type: 'INT64', converted_type: 'UINT_64' },
  'unsigned index': { type: 'INT64', converted_type: 'UINT_64' },
  index: { type: 'INT64' },
  long: { type: 'INT64' },
  int: { type: 'INT32' },
  flag: { type: 'BOOLEAN' },
  text: { type: 'BYTE_ARRAY', converted_type: 'UTF8' },
};

/** Small, as the writer copies each page several times before V8 collects the copies. */
const PAGE_BYTES = 65_536;

/** Writes rows as Parquet: each call a row group, which goes to the sink at once. */
export class ParquetRows implements RowWriter {
  readonly #columns: readonly Column[];
  readonly #out: SinkWriter;
  readonly #writer: ParquetWriter;

  constructor(sink: Sink, columns: readonly Column[], metadata: ReadonlyMap<string, string>) {
    this.#columns = columns;
    this.#out = new SinkWriter(sink);
    const fields = columns.map(({ name, type, optional }): SchemaElement => ({
      name,
      ...TYPES[type],
      repetition_type: optional === true ? 'OPTIONAL' : 'REQUIRED',
    }));
    this.#writer = new ParquetWriter({
      writer: this.#out,
      schema: [{ name: 'entries', num_children: fields.length }, ...fields],
      // Its Snappy costs more time than it saves bytes.
      codec: 'UNCOMPRESSED',
      statistics: false,
      kvMetadata: [...metadata].map(([key, value]): KeyValue => ({ key, value })),
      createdBy: 'kvm-htab',
    });
  }

  async write(values: readonly Values[]): Promise<void> {
    const rows = values[0]!.length;
    const columnData = this.#columns.map((column, index) => ({
      name: column.name,
      data: values[index] as never,
      offsetIndex: false,
      ...encodingOf(column),
    }));
    await this.#writer.write({ columnData, rowGroupSize: rows, pageSize: PAGE_BYTES });
    // Kept for page indexes, which are not written.
    this.#writer.pendingIndexes.length = 0;
  }

  async finish(): Promise<void> {
    await this.#writer.finish();
    await this.#out.flush();
  }
}

/** Indices are written as differences, and what hardly repeats as it is; for the others a dictionary is tried. */
function encodingOf({ type, diverse }: Column): { encoding?: 'DELTA_BINARY_PACKED' | 'PLAIN' } {
  if (type === 'index' || type === 'unsigned index') return { encoding: 'DELTA_BINARY_PACKED' };
  return diverse === true ? { encoding: 'PLAIN' } : {};
}

/** Gives the bytes of each row group on, and begins anew. */
class SinkWriter extends ByteWriter {
  readonly #sink: Sink;

  constructor(sink: Sink) {
    super(1 << 22);
    this.#sink = sink;
  }

  async flush(): Promise<void> {
    await this.#sink.write(this.getBytes());
    this.index = 0;
  }
}
