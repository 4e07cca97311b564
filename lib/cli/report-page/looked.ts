import type { HptTable } from '../../hpt/table.js';
import type { LinuxGuest } from '../../inspect/linux-guest.js';
import type { TableStats } from '../../inspect/table-stats.js';
import type { TablePass } from '../table/watched-table.js';

/** What a report is made from. */
export interface Looked {
  /** For people: a file's name, or where the guest is. */
  readonly name: string;
  readonly table: HptTable;
  readonly stats: TableStats;
  readonly guest: LinuxGuest | undefined;
  /** Of a live guest; empty for a file. */
  readonly passes: readonly TablePass[];
  /** Whether a guest's table was checked to be the same in all passes. */
  readonly isRechecked: boolean;
}
