import { truncateSync, writeFileSync } from 'node:fs';
import { vi } from 'vitest';
import { systemCall } from '../../lib/base/system-call.js';
import { inDoubtError } from '../../lib/migration/errors.js';
import { openJournal } from '../../lib/migration/journal/journal-file.js';
import type { Journal, Side } from '../../lib/migration/journal/journal.js';
import { MemoryJournal } from '../../lib/migration/journal/memory-journal.js';
import { answerOutcomes } from '../../lib/migration/outcome.js';
import type { SendOptions } from '../../lib/migration/source/send.js';
import { FaultScript, type Fault } from '../../lib/testing/faults.js';
import type { HtabVm } from '../../lib/vm/contract.js';
import { EmulatedVm } from '../../lib/vm/emulated/emulated-vm.js';
import { withCalls } from '../migration/harness/failing-calls.js';
import { power8 } from '../migration/harness/move-guest.js';
import {
  MIGRATION_ID,
  faultyMessage,
  introducedAs,
  move,
  type Difference,
  type Ends,
} from './move-with-faults.js';

const DIGEST = 'ab'.repeat(32);

const never = (): Promise<never> => new Promise(() => undefined);
const refuses = (call: string) => (): Promise<never> =>
  Promise.reject(new Error(`the VMM answers ${call} with "no"`));

async function journalWith(side: Side, state: 'pending' | 'committed'): Promise<Journal> {
  const journal = new MemoryJournal();
  await journal.begin({ side, migrationId: MIGRATION_ID, order: 18, digest: DIGEST });
  if (state !== 'pending') await journal.decide(side, MIGRATION_ID, state);
  return journal;
}

type JournalCall = 'find' | 'begin' | 'decide';

/** A journal of which one call does this instead. */
const journalOf = (call: JournalCall, instead: () => Promise<never>): Journal =>
  withCalls(new MemoryJournal(), { [call]: instead });
const diskSays = (code: string) => (): Promise<never> => {
  const error = Object.assign(new Error(`${code}: write`), { code, syscall: 'write' });
  return systemCall('write to the journal J', Promise.reject(error));
};
const unsure = (): Promise<never> =>
  Promise.reject(
    inDoubtError(
      `it is not known whether the journal has migration ${MIGRATION_ID} as committed at the destination`,
      'check the disk and J before the guest is run anywhere',
    ),
  );

/** A journal in a file of these bytes, or of this length. */
async function fileJournal(file: string, content: string | number): Promise<Journal> {
  writeFileSync(file, '');
  const journal = await openJournal(file);
  if (typeof content === 'string') writeFileSync(file, content);
  else truncateSync(file, content);
  return journal;
}

const faulty = (fault: Fault, vm: HtabVm = power8()): HtabVm => new FaultScript([fault]).wrapVm(vm);
const sent = (send: Partial<SendOptions>): Difference => ({ send });

const DIFFERENCES: Readonly<Record<string, Difference | ((file: string) => Promise<Difference>)>> = {
  // The destination refuses the source.
  'the destination expects another order': { receive: { expectedOrder: 20 } },
  'the destination allocates no table of this order': {
    ...introducedAs({ order: 30 }),
    receive: { maxOrder: 20 },
  },
  "the source's record headers have another byte order": introducedAs({ headerByteOrder: 'BE' }),
  'a guest of KVM comes to an emulated destination': introducedAs({ backend: 'kvm' }),
  'the source speaks another version': introducedAs({ version: 9 }),
  'the source speaks another protocol': introducedAs({ protocol: 'other' }),
  'the source requires what the destination does not have': introducedAs({ features: ['zstd'] }),
  'the destination waits for another migration': { receive: { migrationId: 'm-2' } },
  'the id is pending at the destination': async () => ({
    receive: { journal: await journalWith('destination', 'pending') },
  }),
  'the id is committed at the destination': async () => ({
    receive: { journal: await journalWith('destination', 'committed') },
  }),
  'the destination answers questions only': {
    receives: false,
    prepare: (_guest, network) => void answerOutcomes(new MemoryJournal(), network),
  },
  'the destination expects more entries': { receive: { minEntries: 10_000 } },
  'the destination expects more bolted entries': { receive: { minBoltedEntries: 10_000 } },
  'the destination cannot map these pages': { receive: { pageShifts: [24] } },
  'the destination is a POWER9 host, and the table uses bits of POWER8': {
    target: new EmulatedVm({ host: 'power9' }),
    prepare: ({ vm }) => {
      vm.table!.set(8, (1n << 60n) | 0x41n, 0x1190n);
    },
  },
  'the kernel of the destination refuses an entry': {
    target: faulty({ kind: 'entry', entry: 40, errno: 'EIO' }),
  },
  'a vcpu of the destination runs': { target: faulty({ kind: 'errno', call: 'write', errno: 'EBUSY' }) },
  'the destination has no memory for the table': {
    target: faulty({ kind: 'errno', call: 'allocateHpt', errno: 'ENOMEM' }),
  },

  // The connection.
  'nobody listens': { receives: false, prepare: (_guest, network) => void (network.listening = false) },
  'the peer answers nothing': {
    ...faultyMessage('fromDestination', 'welcome', 'stall'),
    send: { reconnectMs: 0 },
  },
  'the connection ends during the copy, again and again': {
    ...faultyMessage('fromSource', 'pass-end', 'reset-before'),
    send: { reconnectMs: 0 },
  },
  'a message is damaged on its way, again and again': {
    ...faultyMessage('fromSource', 'data', 'damaged'),
    send: { maxReconnects: 0 },
  },
  'the peer falls silent during the copy': {
    ...faultyMessage('fromDestination', 'applied', 'stall'),
    send: { reconnectMs: 0 },
  },
  'the source sends another message than is due': faultyMessage('fromSource', 'pass-begin', {
    ...{ type: 'pass-begin', pass: 77 },
  }),
  'the commit is lost, and the destination answers': {
    ...faultyMessage('fromSource', 'commit', 'reset-before', 1),
  },
  'the acknowledgement is lost, and nobody answers': {
    ...faultyMessage('fromDestination', 'committed', 'reset-before', 1),
    prepare: (_guest, network) => {
      const { connect } = network;
      Object.assign(network, {
        connect: () => {
          network.listening = network.connections === 0;
          return connect();
        },
      });
    },
  },
  'the destination has another table in the end': faultyMessage('fromDestination', 'prepared', {
    ...{ type: 'prepared', digest: DIGEST },
  }),

  // The guest.
  'the guest cannot be paused': sent({ pause: refuses('pause') }),
  'the pause takes too long': sent({ pause: never, guestTimeoutMs: 2000 }),
  'the guest can be neither paused nor resumed': sent({ pause: refuses('pause'), resume: refuses('resume') }),
  'the guest cannot be slowed down': sent({
    ...{ whenNotConverging: 'throttle', throttle: refuses('throttle'), maxPasses: 1, downtimeMs: 0 },
  }),
  'the guest reaches its stop limit': sent({ stopLimitMs: 1000, journal: journalOf('begin', never) }),
  'the table changes too fast': {
    send: { whenNotConverging: 'give-up', maxPasses: 2, downtimeMs: 50 },
    source: ({ vm }) =>
      faulty({ kind: 'run', call: 'read', times: 100, action: () => void vi.advanceTimersByTime(80) }, vm),
  },
  'the table has another order than before': {
    send: { maxRestarts: 0 },
    source: ({ vm }) => faulty({ kind: 'run', call: 'read', nth: 2, action: () => vm.allocateHpt(20) }, vm),
  },
  'the table was replaced': {
    send: { maxRestarts: 0, recheckSource: true },
    source: ({ vm }) =>
      faulty({ kind: 'run', call: 'openHtab', nth: 2, action: () => vm.allocateHpt(18) }, vm),
  },
  'changes of the table are lost': {
    send: { maxRestarts: 0 },
    source: ({ vm }) => faulty({ kind: 'errno', call: 'read', nth: 2, errno: 'EFAULT', applied: true }, vm),
  },

  // The journals.
  "the source's journal cannot be read": sent({ journal: journalOf('find', diskSays('EIO')) }),
  "the id is pending in the source's journal": async () =>
    sent({ journal: await journalWith('source', 'pending') }),
  "the id is used up in the source's journal": async () =>
    sent({ journal: await journalWith('source', 'committed') }),
  "the disk of the source's journal is full": sent({ journal: journalOf('begin', diskSays('ENOSPC')) }),
  "the disk of the source's journal hangs": sent({ journal: journalOf('begin', never) }),
  "the source's journal is too long": async (file) => sent({ journal: await fileJournal(file, 70 << 20) }),
  "the source's journal is damaged": async (file) =>
    sent({ journal: await fileJournal(file, `#\n${'0'.repeat(8)} {"side":"source"}\n`) }),
  "the disk of the destination's journal is full": {
    receive: { journal: journalOf('begin', diskSays('ENOSPC')) },
  },
  "the destination's journal fails at the commit": {
    receive: { journal: journalOf('decide', diskSays('EIO')) },
  },
  "the destination's journal may or may not have the commit": {
    send: { reconnectMs: 0 },
    receive: { journal: journalOf('decide', unsure) },
  },
};

/**
 * Migrations that fail under way.
 *
 * @param file for a journal
 */
export async function failMigrations(file: () => string): Promise<Map<string, Ends>> {
  const ends = new Map<string, Ends>();
  for (const [what, difference] of Object.entries(DIFFERENCES)) {
    ends.set(what, await move(typeof difference === 'function' ? await difference(file()) : difference));
  }
  return ends;
}
