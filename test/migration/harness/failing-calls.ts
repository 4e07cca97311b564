import { HtabSystemError } from '../../../lib/base/errors.js';
import { type Journal } from '../../../lib/migration/journal/journal.js';
import { MemoryJournal } from '../../../lib/migration/journal/memory-journal.js';
import type { HtabHandle, HtabVm } from '../../../lib/vm/contract.js';
import type { FaultPoint } from './fault-point.js';

// What fails, or takes its time, at a stage.

export const diskIsFull = (): Promise<never> =>
  Promise.reject(new HtabSystemError('write', 'ENOSPC', { operation: 'write to the journal' }));

/** A VM of which a descriptor's call fails; while its side is `connecting`, opening one. */
export function failing(point: FaultPoint, vm: HtabVm, call: 'read' | 'writeRecords', error: Error): HtabVm {
  const fail = (): void => {
    if (!point.isNow) return;
    point.strike();
    throw error;
  };
  const open = async (options?: Parameters<HtabVm['openHtab']>[0]): Promise<HtabHandle> => {
    if (point.state === 'connecting') fail();
    const handle = await vm.openHtab(options);
    const original = handle[call].bind(handle);
    handle[call] = async (bytes) => {
      fail();
      return original(bytes);
    };
    return handle;
  };
  return new Proxy(vm, {
    get: (of, name) => {
      if (name === 'openHtab') return open;
      const value: unknown = Reflect.get(of, name, of);
      return typeof value === 'function' ? (value as (...args: never[]) => unknown).bind(of) : value;
    },
  });
}

/** The journal, with other ways to find, begin or decide. */
export function withCalls(journal: Journal, calls: Partial<Omit<Journal, 'close'>>): Journal {
  return Object.assign(new MemoryJournal(), {
    entries: journal.entries.bind(journal),
    find: journal.find.bind(journal),
    begin: journal.begin.bind(journal),
    decide: journal.decide.bind(journal),
    ...calls,
  });
}

/** A journal that takes some turns of the event loop over each decision, one after the other. */
export function slow(journal: Journal): Journal {
  let tail: Promise<unknown> = Promise.resolve();
  return withCalls(journal, {
    decide: (...args) => {
      const decided = tail.then(async () => {
        for (let turn = 0; turn < 4; turn++) await new Promise((resolve) => setImmediate(resolve));
        return journal.decide(...args);
      });
      tail = decided.catch(() => undefined);
      return decided;
    },
  });
}
