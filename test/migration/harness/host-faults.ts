import { HtabSystemError } from '../../../lib/base/errors.js';
import { inDoubtError } from '../../../lib/migration/errors.js';
import { type Journal } from '../../../lib/migration/journal/journal.js';
import { FaultScript, Gate, type Fault } from '../../../lib/testing/faults.js';
import type { FaultyCall } from '../../../lib/testing/faulty-vm.js';
import type { SeededRandom } from '../../../lib/base/random.js';
import { MemoryJournal } from '../../../lib/migration/journal/memory-journal.js';
import type { EmulatedVm } from '../../../lib/vm/emulated/emulated-vm.js';
import { frameWire } from './faulty-wire.js';
import { type Make, pick } from './random-fault.js';

export const sourceFault: Make = (random) => {
  const fault = vmFault(random, ['read', 'read', 'read', 'openHtab'], ['EFAULT', 'EINTR', 'ENOMEM', 'EIO']);
  const script = new FaultScript([fault]);
  return {
    kind: `source ${fault.kind}`,
    name: `source: ${JSON.stringify(fault)}`,
    options: { wrapSource: (vm) => script.wrapVm(vm) },
  };
};

export const targetFault: Make = (random, guest) => {
  const fault: Fault = random.chance(0.3)
    ? {
        kind: 'entry',
        entry: guest.vm.table!.valid.next(random.below(guest.vm.table!.entryCount / 2)),
        errno: pick(random, ['EIO', 'EINVAL', 'ENOMEM']),
        times: 1 + random.below(3),
      }
    : vmFault(
        random,
        ['write', 'write', 'write', 'read', 'openHtab', 'allocateHpt'],
        ['EBUSY', 'EIO', 'ENOMEM', 'EFAULT', 'EINVAL'],
      );
  const script = new FaultScript([fault]);
  script.running = random.chance(0.05);
  return {
    kind: `destination ${fault.kind}`,
    name: `destination: ${JSON.stringify(fault)}`,
    options: { wrapTarget: (vm) => script.wrapVm(vm) },
  };
};

function vmFault(random: SeededRandom, calls: readonly FaultyCall[], errnos: readonly string[]): Fault {
  const call = pick(random, calls);
  const nth = 1 + random.below(call === 'read' ? 25 : call === 'write' ? 800 : 3);
  switch (random.below(4)) {
    case 0:
      return { kind: 'errno', call, nth, errno: pick(random, errnos), applied: random.chance(0.5) };
    case 1:
      return { kind: 'answer', call, nth, result: random.below(64) };
    case 2:
      return { kind: 'short', call, nth, maxBytes: random.below(4096), times: 1 + random.below(5) };
    default: {
      const gate = new Gate();
      void gate.reached.then(() => setTimeout(() => gate.release(), 1000 * random.below(60)));
      return { kind: 'hold', call, nth, gate };
    }
  }
}

export const resize: Make = (random) => {
  const nth = 1 + random.below(20);
  const order = pick(random, [18, 19, 20]);
  const result = (vm: EmulatedVm): FaultScript => {
    const script = new FaultScript([
      {
        kind: 'run',
        call: 'read',
        nth,
        action: async () => {
          // A table that goes once the source has looked at it for the last time, its guest stopped, is beyond any check.
          if (script.calls('openHtab') > 1) return;
          while ((await vm.prepareHptResize(order)) > 0);
          await vm.commitHptResize(order);
        },
      },
    ]);
    return script;
  };
  return {
    kind: 'resize',
    name: `resize to order ${order} before read ${nth}`,
    options: {
      wrapSource: (vm) => result(vm).wrapVm(vm),
      send: { recheckSource: order === 18 && random.chance(0.5) },
    },
  };
};

export const radix: Make = (random) => {
  const nth = 1 + random.below(20);
  const action = (): void => {
    script.radix = true;
  };
  const script = new FaultScript([{ kind: 'run', call: 'read', nth, action }]);
  return {
    kind: 'radix',
    name: `radix before read ${nth}`,
    options: { wrapSource: (vm) => script.wrapVm(vm) },
  };
};

export const journalFault: Make = (random) => {
  const side = pick(random, ['source', 'destination'] as const);
  const call = pick(random, ['begin', 'decide'] as const);
  const written = random.chance(0.5);
  const unknown = random.chance(0.4);
  const journal = new MemoryJournal();
  const faulty: Journal = Object.assign(new MemoryJournal(), {
    entries: journal.entries.bind(journal),
    find: journal.find.bind(journal),
    begin: journal.begin.bind(journal),
    decide: journal.decide.bind(journal),
    [call]: async (...args: never[]) => {
      if (!unknown) throw new HtabSystemError('write', 'ENOSPC', { operation: 'write to the journal' });
      if (written) await (journal[call] as (...all: never[]) => Promise<unknown>)(...args);
      throw inDoubtError('it is not known whether it was written', 'check the disk');
    },
  });
  return {
    kind: `journal of the ${side}`,
    name: `journal of the ${side}: ${call} ${unknown ? `unknown, written: ${written}` : 'full'}`,
    options:
      side === 'source'
        ? { sourceJournal: journal, send: { journal: faulty } }
        : { targetJournal: journal, receive: { journal: faulty } },
  };
};

export const monitor: Make = (random) => {
  const callback = pick(random, ['pause', 'resume'] as const);
  const failure = new HtabSystemError('connect', 'ECONNREFUSED', { operation: 'ask the monitor' });
  const victim = random.below(60);
  return {
    kind: `monitor cannot ${callback}`,
    name: `monitor cannot ${callback}, and a reset after frame ${victim}`,
    options: {
      send: { [callback]: () => Promise.reject(failure), maxReconnects: 2 },
      wires: () => ({ fromDestination: frameWire((_, number) => number === victim, 'reset-after') }),
    },
  };
};
