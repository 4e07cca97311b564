import type { TableOptions } from '../table/place.js';

/** What `--format` takes. */
export const FORMATS = ['parquet', 'csv'] as const;
export type Format = (typeof FORMATS)[number];

/** What `kvm-htab export` takes. */
export interface ExportCommandOptions extends TableOptions {
  readonly decoded?: boolean;
  readonly format?: Format;
  readonly json?: boolean;
  readonly quiet?: boolean;
}
