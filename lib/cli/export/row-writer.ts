import type { Values } from './column.js';

/** Where an export goes: a file that appears when it is complete, or a stream. */
export interface Sink {
  /** Resolves once all of the bytes have been taken, which may then be overwritten. */
  write(bytes: Uint8Array): Promise<void>;
  commit(): Promise<void>;
  discard(): Promise<void>;
}

/** Writes rows in some format. */
export interface RowWriter {
  /** @param values one array for each column, of the same length, not empty */
  write(values: readonly Values[]): Promise<void>;
  finish(): Promise<void>;
}
