import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import { HtabSystemError } from '../../../lib/base/errors.js';
import type { StateEvent } from '../../../lib/migration/events.js';
import { inDoubtError, migrationError } from '../../../lib/migration/errors.js';
import { type Journal } from '../../../lib/migration/journal/journal.js';
import { FaultScript, Gate, type Fault } from '../../../lib/testing/faults.js';
import type { FaultyCall } from '../../../lib/testing/faulty-vm.js';
import type { SeededRandom } from '../../../lib/base/random.js';
import { MemoryJournal } from '../../../lib/migration/journal/memory-journal.js';
import type { EmulatedVm } from '../../../lib/vm/emulated/emulated-vm.js';
import { cutAfter, flipByte, type Wire } from './linked-streams.js';
import type { TestGuest } from './test-guest.js';
import { FRAME_FAULTS, frameWire } from './faulty-wire.js';
import type { TwoHosts, TwoHostsOptions } from './two-hosts.js';

/** One thing that goes wrong in a migration. */
export interface RandomFault {
  /** What, with the numbers that matter: told when the migration ends as it must not. */
  readonly name: string;
  readonly kind: string;
  readonly options: Omit<TwoHostsOptions, 'guest'>;
  /** Called once the hosts exist; what it returns undoes it. */
  readonly begin?: (hosts: TwoHosts) => () => void;
}

type Make = (random: SeededRandom, guest: TestGuest) => RandomFault;

function pick<T>(random: SeededRandom, values: readonly T[]): T {
  return values[random.below(values.length)]!;
}

/** A wire for one connection in one direction; the others are as they should be. */
function onOneConnection(random: SeededRandom, wire: () => Wire): Omit<TwoHostsOptions, 'guest'> {
  const side = pick(random, ['fromSource', 'fromDestination'] as const);
  const last = 1 + random.below(2);
  return { wires: (number) => (number <= last ? { [side]: wire() } : {}) };
}

const frameFault: Make = (random) => {
  const fault = pick(random, FRAME_FAULTS);
  const victim = random.below(40);
  return {
    kind: `a frame ${fault}`,
    name: `frame ${victim} ${fault}`,
    options: onOneConnection(random, () => frameWire((_, number) => number === victim, fault)),
  };
};

/** The end of a migration is where it matters most, and few frames are there. */
const lateFrameFault: Make = (random) => {
  const fault = pick(random, FRAME_FAULTS);
  const type = pick(random, ['state', 'prepare', 'prepared', 'commit', 'committed'] as const);
  const side = type === 'prepared' || type === 'committed' ? 'fromDestination' : 'fromSource';
  return {
    kind: `one of the last frames ${fault}`,
    name: `${type} ${fault}`,
    options: {
      wires: (number) => (number === 1 ? { [side]: frameWire((seen) => seen === type, fault) } : {}),
    },
  };
};

const cut: Make = (random) => {
  const length = random.below(60_000);
  return {
    kind: 'bytes cut',
    name: `cut after ${length} bytes`,
    options: onOneConnection(random, () => cutAfter(length)),
  };
};

const flip: Make = (random) => {
  const at = random.below(40_000);
  const mask = 1 << random.below(8);
  return {
    kind: 'bytes changed',
    name: `byte ${at} changed by ${mask}`,
    options: onOneConnection(random, () => flipByte(at, mask)),
  };
};

const refused: Make = (random) => {
  const refusals = 1 + random.below(12);
  const first = frameWire((_, number) => number === 20, 'reset-after');
  return {
    kind: 'connection refused',
    name: `${refusals} connections refused after one was lost`,
    options: { wires: (number) => (number === 1 ? { fromSource: first } : {}) },
    begin: (hosts) => {
      const listen = hosts.network.connect;
      Object.assign(hosts.network, {
        connect: () => {
          const { connections } = hosts.network;
          hosts.network.listening = connections < 1 || connections > refusals;
          return listen();
        },
      });
      return () => undefined;
    },
  };
};

const death: Make = (random) => {
  const side = pick(random, ['source', 'destination'] as const);
  const state = pick(
    random,
    side === 'source'
      ? (['connecting', 'copying', 'stopped', 'committing', 'asking'] as const)
      : (['waiting', 'copying', 'prepared', 'deciding', 'committed'] as const),
  );
  // "asking" and "waiting" take a connection that breaks first.
  const wires = (number: number) =>
    number > 1
      ? {}
      : side === 'source'
        ? { fromDestination: frameWire((type) => type === 'committed', 'reset-before') }
        : { fromSource: frameWire((type) => type === 'prepare', 'reset-before') };
  return {
    kind: `death of the ${side}`,
    name: `death of the ${side} when ${state}`,
    options: state === 'asking' || state === 'waiting' ? { wires } : {},
    begin: (hosts) => {
      const listener = (event: unknown): void => {
        const seen = event as StateEvent;
        if (seen.side === side && seen.state === state) hosts[side].kill();
      };
      subscribe('kvm-htab:state', listener);
      return () => {
        unsubscribe('kvm-htab:state', listener);
      };
    },
  };
};

/** An operator's Ctrl-C while a frame is on its way. */
const interrupt: Make = (random) => {
  const side = pick(random, ['send', 'receive'] as const);
  const victim = random.below(60);
  const from = pick(random, ['fromSource', 'fromDestination'] as const);
  const last = pick(random, [undefined, 'state', 'prepare', 'prepared', 'commit', 'committed'] as const);
  const interrupted = new AbortController();
  const strikes = (type: string, number: number): boolean =>
    last === undefined ? number === victim : type === last;
  const struck = (): void => {
    interrupted.abort(migrationError('interrupted'));
  };
  return {
    kind: `interrupt of ${side}`,
    name: `interrupt of ${side} at ${last ?? `frame ${victim} ${from}`}`,
    options: {
      [side]: { signal: interrupted.signal },
      wires: (number) => (number === 1 ? { [from]: frameWire(strikes, 'none', struck) } : {}),
    },
  };
};

/** The network is gone for good at the worst moment: only an operator can find out what is true. */
const partition: Make = (random) => {
  const type = pick(random, ['commit', 'committed'] as const);
  const fault = pick(random, ['reset-before', 'reset-after', 'cut', 'stall'] as const);
  const side = type === 'commit' ? 'fromSource' : 'fromDestination';
  let hosts: TwoHosts | undefined;
  const wire = frameWire(
    (seen) => seen === type,
    fault,
    () => (hosts!.network.listening = false),
  );
  return {
    kind: 'network gone at the commit',
    name: `network gone at ${type}, ${fault}`,
    options: { wires: () => ({ [side]: wire }) },
    begin: (made) => {
      hosts = made;
      return () => undefined;
    },
  };
};

/** Dies at any moment, which is that of a frame. */
const deathAtFrame: Make = (random) => {
  const side = pick(random, ['source', 'destination'] as const);
  const victim = random.below(60);
  let hosts: TwoHosts | undefined;
  const wire = frameWire(
    (_, number) => number === victim,
    pick(random, ['reset-after', 'reset-before'] as const),
    () => hosts![side].kill(),
  );
  const from = pick(random, ['fromSource', 'fromDestination'] as const);
  return {
    kind: `death of the ${side}`,
    name: `death of the ${side} at frame ${victim} ${from}`,
    options: { wires: (number) => (number === 1 ? { [from]: wire } : {}) },
    begin: (made) => {
      hosts = made;
      return () => undefined;
    },
  };
};

const sourceFault: Make = (random) => {
  const fault = vmFault(random, ['read', 'read', 'read', 'openHtab'], ['EFAULT', 'EINTR', 'ENOMEM', 'EIO']);
  const script = new FaultScript([fault]);
  return {
    kind: `source ${fault.kind}`,
    name: `source: ${JSON.stringify(fault)}`,
    options: { wrapSource: (vm) => script.wrapVm(vm) },
  };
};

const targetFault: Make = (random, guest) => {
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

const resize: Make = (random) => {
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

const radix: Make = (random) => {
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

const journalFault: Make = (random) => {
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

const monitor: Make = (random) => {
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

const nothing: Make = () => ({ kind: 'nothing', name: 'nothing', options: {} });

const KINDS: readonly Make[] = [
  nothing,
  frameFault,
  frameFault,
  lateFrameFault,
  lateFrameFault,
  cut,
  flip,
  refused,
  death,
  death,
  deathAtFrame,
  interrupt,
  interrupt,
  partition,
  sourceFault,
  sourceFault,
  targetFault,
  targetFault,
  resize,
  radix,
  journalFault,
  monitor,
];

/** Whatever this seed brings. */
export function randomFault(random: SeededRandom, guest: TestGuest): RandomFault {
  return pick(random, KINDS)(random, guest);
}
