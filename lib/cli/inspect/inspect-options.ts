import type { LinuxRegion } from '../../inspect/linux-regions.js';
import type { TableOptions } from '../table/place.js';
import type { Grouping } from '../report/grouping.js';

/** What `kvm-htab inspect` takes. */
export interface InspectCommandOptions extends TableOptions {
  readonly by?: Grouping;
  readonly at?: bigint;
  readonly guestAddress?: bigint;
  readonly ptex?: number;
  readonly list?: boolean;
  readonly context?: number;
  readonly region?: LinuxRegion;
  readonly bolted?: boolean;
  readonly json?: boolean;
}

/** Of these options one is given at most. */
export const VIEWS = ['by', 'at', 'guestAddress', 'ptex', 'list'] as const;
