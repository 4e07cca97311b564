import type { SeededRandom } from '../../../lib/base/random.js';
import { cutAfter, flipByte, type Wire } from './linked-streams.js';
import { FRAME_FAULTS, frameWire } from './faulty-wire.js';
import type { TwoHosts } from './two-hosts.js';
import type { TwoHostsOptions } from './two-hosts-options.js';
import { type Make, pick } from './random-fault.js';

/** A wire for one connection in one direction; the others are as they should be. */
function onOneConnection(random: SeededRandom, wire: () => Wire): Omit<TwoHostsOptions, 'guest'> {
  const side = pick(random, ['fromSource', 'fromDestination'] as const);
  const last = 1 + random.below(2);
  return { wires: (number) => (number <= last ? { [side]: wire() } : {}) };
}

export const frameFault: Make = (random) => {
  const fault = pick(random, FRAME_FAULTS);
  const victim = random.below(40);
  return {
    kind: `a frame ${fault}`,
    name: `frame ${victim} ${fault}`,
    options: onOneConnection(random, () => frameWire((_, number) => number === victim, fault)),
  };
};

/** The end of a migration is where it matters most, and few frames are there. */
export const lateFrameFault: Make = (random) => {
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

export const cut: Make = (random) => {
  const length = random.below(60_000);
  return {
    kind: 'bytes cut',
    name: `cut after ${length} bytes`,
    options: onOneConnection(random, () => cutAfter(length)),
  };
};

export const flip: Make = (random) => {
  const at = random.below(40_000);
  const mask = 1 << random.below(8);
  return {
    kind: 'bytes changed',
    name: `byte ${at} changed by ${mask}`,
    options: onOneConnection(random, () => flipByte(at, mask)),
  };
};

export const refused: Make = (random) => {
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

/** The network is gone for good at the worst moment: only an operator can find out what is true. */
export const partition: Make = (random) => {
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
