import type { OptionTable } from '../base/options.js';
import { MAX_STREAM_ORDER, MIN_ORDER } from '../hpt/geometry.js';
import type { HtabHandle } from '../vm/contract.js';
import type { HostModel } from '../vm/host.js';

/** How far loading has come. */
export interface LoadProgress {
  readonly step: 'write' | 'read back';
  /** Part of the table that has been written, 0..1. */
  readonly written: number;
}

export interface LoadOptions {
  /** log2 of the bytes of a given descriptor's table, 18..36, where it is known: a snapshot of another order is refused. */
  readonly order?: number | undefined;
  /**
   * Processor of the host, where neither the VM nor this machine shows it: entries that it cannot hold are refused before
   * anything is written. `power9` for later ones too.
   */
  readonly host?: HostModel | undefined;
  /**
   * Read the table back and compare it with the file: true for a VM; for a descriptor, a read descriptor of the same
   * table that has not been read from, which is closed. Default false.
   */
  readonly readBack?: boolean | HtabHandle | undefined;
  /** Load a snapshot whose table changed while it was saved (see `quiescent`). Default false. */
  readonly allowChanging?: boolean | undefined;
  /** Ends it with its reason: a table that was being written is emptied. */
  readonly signal?: AbortSignal | undefined;
  /** Called after every MiB of records, and before the table is read back. */
  readonly onProgress?: ((progress: LoadProgress) => void) | undefined;
}

export const LOAD_OPTIONS = {
  order: {
    min: MIN_ORDER,
    max: MAX_STREAM_ORDER,
    unit: 'log2 of bytes',
    doc: "log2 of the bytes of a given descriptor's table: a snapshot of another order is refused",
  },
  host: {
    choices: ['power8', 'power9'],
    doc: 'processor of the host, where neither the VM nor the machine tells; power9 for later ones too',
  },
  readBack: { default: false, doc: 'read the table back and compare it with the file' },
  allowChanging: { default: false, doc: 'load a snapshot of a table that changed while it was saved' },
  signal: { doc: 'aborts it: a table that was being written is emptied' },
  onProgress: { doc: 'called after every MiB of records, and before the table is read back' },
} as const satisfies OptionTable<LoadOptions>;
