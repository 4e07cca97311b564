import { MAX_STREAM_ORDER } from '../../hpt/geometry.js';
import { adviseOrder, type OrderAdvice } from '../../inspect/advise-order.js';
import type { LinuxGuest } from '../../inspect/linux-guest.js';
import type { TableStats } from '../../inspect/table-stats.js';
import { formatBytes, formatShare } from './format.js';

/** From this share of entries with both groups full on, a guest loses time to evictions. */
const CORNERED_LIMIT = 0.01;

/** What is usual for the memory of a Linux guest. */
interface UsualSize extends OrderAdvice {
  /** Of its linear mapping, which covers the guest's memory. */
  readonly memoryBytes: number;
}

/** The orders that Linux and QEMU choose for a guest's memory; undefined where nothing shows how much it has. */
export function usualSize({ pageSizes }: TableStats, guest: LinuxGuest | undefined): UsualSize | undefined {
  const memoryBytes = guest?.contexts.find(({ region }) => region === 'linear')?.bytes ?? 0;
  if (memoryBytes === 0) return undefined;
  // Linux counts pages in the size that it hashes most of them with.
  const pageSize = pageSizes.some(({ basePageShift }) => basePageShift === 16) ? '64K' : '4K';
  return { memoryBytes, ...adviseOrder(memoryBytes, pageSize) };
}

/** How a table's size compares with what is usual. */
export function adviceText({ order }: TableStats, usual: UsualSize | undefined): string {
  if (usual === undefined) return 'no linear mapping, so the size of its memory is not known';
  const { linux, qemu, memoryBytes } = usual;
  const verdict =
    order < linux
      ? 'smaller than Linux asks for'
      : order > Math.max(linux, qemu)
        ? 'larger than usual'
        : 'usual';
  return `${verdict}: for the ${formatBytes(memoryBytes)} of its linear mapping, Linux asks for order ${linux}, QEMU allocates ${qemu}`;
}

/** Whether a table needs to grow, and to which order. */
export interface Growth {
  readonly needed: boolean;
  readonly toOrder: number | undefined;
}

/** Whether a table needs to grow: new pages would push others out of groups that are full. */
export function growthOf({ order, cornered, validCount }: TableStats): Growth {
  if (cornered === 0 || cornered < validCount * CORNERED_LIMIT || order === MAX_STREAM_ORDER)
    return { needed: false, toOrder: undefined };
  // With half of the entries valid, about one group in twenty is full.
  const roomy = Math.ceil(Math.log2(validCount * 2)) + 4;
  return { needed: true, toOrder: Math.min(Math.max(order + 1, roomy), MAX_STREAM_ORDER) };
}

/** The same for a person. */
export function growthText(stats: TableStats): string {
  const { needed, toOrder } = growthOf(stats);
  const share = `${formatShare(stats.cornered, stats.validCount)} of the entries have both groups full`;
  return needed ? `yes, to order ${toOrder!}: ${share}, so new pages push others out` : `no: ${share}`;
}
