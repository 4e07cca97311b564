// The process that receives guests, many at once. Arguments: the port to listen at, or 0, and the journal's file.
import { digestTable } from '../../lib/hpt/digest.js';
import { readTable } from '../../lib/io/read-table.js';
import { receiveHpt } from '../../lib/migration/destination/receive.js';
import { openJournal } from '../../lib/migration/journal/journal-file.js';
import type { Journal } from '../../lib/migration/journal/journal.js';
import { answerOutcomes } from '../../lib/migration/outcome.js';
import { listen } from '../../lib/transport/transport.js';
import { EmulatedVm } from '../../lib/vm/emulated/emulated-vm.js';
import { GuestWorkload } from '../../lib/vm/emulated/guest-workload.js';
import { LATER_STEPS, RECONNECT_MS, type Request, type Told } from './messages.js';

const [port = '0', file = ''] = process.argv.slice(2);
const journal = await openJournal(file);
const listener = await listen(`tcp://127.0.0.1:${port}`);
const waiting = new Map<string, AbortController>();

/** Resolves once the other process has it, whatever becomes of this one. */
function tell(told: Told): Promise<void> {
  return new Promise((resolve, reject) => {
    process.send!(told, (error: Error | null) => {
      if (error === null) resolve();
      else reject(error);
    });
  });
}

/** The journal, and a word before the commit: a process that is killed right after it has told what it has. */
function telling(vm: EmulatedVm): Journal {
  return {
    entries: (side) => journal.entries(side),
    find: (side, id) => journal.find(side, id),
    begin: (record) => journal.begin(record),
    decide: async (side, id, decision) => {
      if (decision === 'committed') await tell({ id, digest: digestTable(vm.table!) });
      return journal.decide(side, id, decision);
    },
    close: () => journal.close(),
    [Symbol.asyncDispose]: () => journal.close(),
  };
}

async function take(id: string, giveUpAfter = Infinity): Promise<void> {
  const vm = new EmulatedVm({ host: 'power8' });
  const given = new AbortController();
  waiting.set(id, given);
  let frames = 0;
  let registers: Uint8Array = new Uint8Array(0);
  try {
    await receiveHpt(vm, listener, {
      migrationId: id,
      journal: telling(vm),
      reconnectMs: RECONNECT_MS,
      signal: given.signal,
      onProgress: () => {
        if (++frames >= giveUpAfter) given.abort(new Error('given up'));
      },
      rest: {
        accept: (state) => {
          registers = state.slice();
          return Promise.resolve();
        },
        discard: () => Promise.resolve(),
        run: () => Promise.resolve(),
      },
    });
    new GuestWorkload(vm, { registers }).step(LATER_STEPS);
    await tell({ id, later: digestTable(await readTable(vm)) });
  } catch (error) {
    await tell({ id, failed: String(error), left: vm.table?.validCount ?? 0 });
  } finally {
    waiting.delete(id);
  }
}

process.on('message', (request: Request) => {
  if (request === 'collect') {
    globalThis.gc!();
    void tell({ collected: true });
  } else if ('take' in request) void take(request.take, request.giveUpAfter);
  else waiting.get(request.drop)?.abort(new Error('dropped'));
});
process.on('disconnect', () => process.exit());
void answerOutcomes(journal, listener);
await tell({ listening: Number(new URL(listener.address).port) });
