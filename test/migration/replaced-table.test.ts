import { afterEach, describe, expect, test, vi } from 'vitest';
import { isHtabError } from '../../lib/base/errors.js';
import { compareTables } from '../../lib/hpt/compare.js';
import type { HptTable } from '../../lib/hpt/table.js';
import { readSnapshot } from '../../lib/snapshot/read.js';
import { saveSnapshot } from '../../lib/snapshot/save.js';
import { scratchFiles } from '../scratch.js';
import { useFakeTime } from './harness/test-guest.js';
import { moveGuest } from './harness/move-guest.js';
import { ACCESSES, CHANGES, MOMENTS, ReplacedGuest, type Access } from './harness/replaced-guest.js';
import { EmulatedVm } from '../../lib/vm/emulated/emulated-vm.js';

const scratch = scratchFiles();
afterEach(() => vi.useRealTimers());

const CONSUMERS = ['send', 'save'] as const;
type Consumer = (typeof CONSUMERS)[number];

/** How a cell ended. */
interface End {
  readonly outcome: PromiseSettledResult<{ readonly sourceRechecked: boolean }>;
  /** What the destination, or the file, has. */
  readonly result: HptTable | undefined;
}

/**
 * What a bare descriptor cannot tell: its reads are those of a quiet table, and nothing else of the guest is here. Documented
 * at `SourceTable.reopen`, `SaveOptions.reopen`, `SendReport.sourceRechecked`, `SaveReport.sourceRechecked`, and in the README
 * under what the kernel does not tell.
 */
const UNTOLD = new Set<string>([
  'send, bare descriptor, radix, in pass 2',
  'send, bare descriptor, radix, in pause()',
  'send, bare descriptor, radix, in the last pass',
  'send, bare descriptor, ALLOCATE of the same order, in pass 2',
  'send, bare descriptor, ALLOCATE of the same order, in pause()',
  'send, bare descriptor, ALLOCATE of the same order, in the last pass',
  'send, bare descriptor, rehash 20 -> 20, in pass 2',
  'send, bare descriptor, rehash 20 -> 20, in pause()',
  'send, bare descriptor, rehash 20 -> 20, in the last pass',
  'send, bare descriptor, grow, in pause()',
  'send, bare descriptor, grow, in the last pass',
  'send, bare descriptor, shrink, in pass 2',
  'send, bare descriptor, shrink, in pause()',
  'send, bare descriptor, shrink, in the last pass',
  'send, bare descriptor, reset with bolted entries only, in pass 2',
  'send, bare descriptor, reset with bolted entries only, in pause()',
  'send, bare descriptor, reset with bolted entries only, in the last pass',
  'save, bare descriptor, radix, in pass 2',
  'save, bare descriptor, radix, in pause()',
  'save, bare descriptor, radix, in the last pass',
  'save, bare descriptor, ALLOCATE of the same order, in pass 2',
  'save, bare descriptor, ALLOCATE of the same order, in pause()',
  'save, bare descriptor, ALLOCATE of the same order, in the last pass',
  'save, bare descriptor, rehash 20 -> 20, in pass 2',
  'save, bare descriptor, rehash 20 -> 20, in pause()',
  'save, bare descriptor, rehash 20 -> 20, in the last pass',
  'save, bare descriptor, grow, in pause()',
  'save, bare descriptor, grow, in the last pass',
  'save, bare descriptor, shrink, in pass 2',
  'save, bare descriptor, shrink, in pause()',
  'save, bare descriptor, shrink, in the last pass',
  'save, bare descriptor, reset with bolted entries only, in pass 2',
  'save, bare descriptor, reset with bolted entries only, in pause()',
  'save, bare descriptor, reset with bolted entries only, in the last pass',
]);

const cells = CONSUMERS.flatMap((consumer) =>
  ACCESSES.flatMap((access) =>
    CHANGES.flatMap((change) =>
      MOMENTS.map((moment) => ({
        consumer,
        access,
        change,
        moment,
        name: [consumer, access, change, moment].join(', '),
      })),
    ),
  ),
);

async function send(guest: ReplacedGuest, access: Access): Promise<End> {
  useFakeTime();
  const target = new EmulatedVm();
  const { sent } = await moveGuest(guest, {
    source: await guest.source(access),
    target,
    send: { ...guest.watch(), host: 'power9' },
  });
  return { outcome: sent, result: target.table };
}

async function save(guest: ReplacedGuest, access: Access): Promise<End> {
  const file = scratch('snapshot');
  const source = await guest.source(access);
  const { pause, resume, onProgress } = guest.watch();
  const [outcome] = await Promise.allSettled([
    saveSnapshot('handle' in source ? source.handle : source, file, {
      ...('handle' in source && { order: source.order, backend: source.backend, reopen: source.reopen }),
      guest: { pause, resume },
      maxChangedEntries: 0,
      maxPasses: 4,
      onProgress,
    }),
  ]);
  return { outcome, result: outcome.status === 'fulfilled' ? (await readSnapshot(file)).table : undefined };
}

const run: Readonly<Record<Consumer, typeof send>> = { send, save };

/** Entries of the result that the guest does not have, or has otherwise; Infinity if its table is no such one at all. */
function differing(guest: ReplacedGuest, result: HptTable | undefined): number {
  const { table } = guest.vm;
  if (table === undefined || table.order !== result?.order) return Infinity;
  return compareTables(table, result).count;
}

describe('a table that goes while it is read', () => {
  test.each(cells)('$name', async ({ consumer, access, change, moment, name }) => {
    const guest = await ReplacedGuest.start(change, moment);
    const { outcome, result } = await run[consumer](guest, access);
    expect(guest.changed).toBe(true);
    if (outcome.status === 'rejected') {
      expect(UNTOLD.has(name), 'a cell that is told after all: take it from the list').toBe(false);
      expect(isHtabError(outcome.reason), String(outcome.reason)).toBe(true);
      const { message } = outcome.reason as Error;
      expect(message).not.toMatch(/target|ERR_HTAB_VERIFY/);
      expect(message).toMatch(/radix|was reset or its table resized/);
      expect(guest.state).toBe('running');
    } else {
      expect(outcome.value.sourceRechecked).toBe(access !== 'bare descriptor');
      if (UNTOLD.has(name)) expect(differing(guest, result)).toBeGreaterThan(0);
      else expect(differing(guest, result)).toBe(0);
    }
  });

  test('all that cannot be told are cells of a bare descriptor', () => {
    const names = new Set(cells.filter(({ access }) => access === 'bare descriptor').map(({ name }) => name));
    expect([...UNTOLD].filter((name) => !names.has(name))).toEqual([]);
  });
});
