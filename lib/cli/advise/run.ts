import { entryCount, tableBytes } from '../../hpt/geometry.js';
import { adviseOrder } from '../../inspect/advise-order.js';
import { EXIT_CODES } from '../errors/exit-codes.js';
import type { Output } from '../output.js';
import { formatBytes, formatCount, formatTable } from '../report/format.js';
import { jsonDocument } from '../report/json.js';

/** What `kvm-htab advise` takes. */
export interface AdviseCommandOptions {
  readonly memory: number;
  readonly pageSize: '4K' | '64K';
  readonly json?: boolean;
}

/**
 * Tells the orders for a guest's memory.
 *
 * @returns the exit code: 0
 */
export function advise({ memory, pageSize, json = false }: AdviseCommandOptions, output: Output): number {
  const orders = adviseOrder(memory, pageSize);
  if (json) {
    output.stdout.write(jsonDocument({ memory, pageSize, ...orders }));
    return EXIT_CODES.ok;
  }
  const pages = memory / (pageSize === '4K' ? 2 ** 12 : 2 ** 16);
  const rows = Object.entries(orders).map(([who, order]: [string, number]) => [
    who === 'qemu' ? 'QEMU' : 'Linux',
    String(order),
    formatBytes(tableBytes(order)),
    formatCount(entryCount(order)),
    (entryCount(order) / pages).toFixed(1),
  ]);
  output.stdout.write(`${formatTable([['', 'order', 'bytes', 'entries', 'entries a page'], ...rows])}

Linux asks for a group of 8 entries for two pages of ${pageSize}; QEMU allocates 1/128 of the memory.
`);
  return EXIT_CODES.ok;
}
