import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import type { StateEvent } from '../../../lib/migration/events.js';
import { migrationError } from '../../../lib/migration/errors.js';
import { frameWire } from './faulty-wire.js';
import type { TwoHosts } from './two-hosts.js';
import { type Make, pick } from './random-fault.js';

export const death: Make = (random) => {
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
export const interrupt: Make = (random) => {
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

/** Dies at any moment, which is that of a frame. */
export const deathAtFrame: Make = (random) => {
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
