import type { Duplex } from 'node:stream';
import { invalidTypeError } from '../../base/arguments.js';
import { isDuplex } from './dialer.js';
import { SharedListener } from './shared-listener.js';
import type { Accepting, AcceptorOptions } from './taker.js';

/** @throws TypeError (`ERR_INVALID_ARG_TYPE`) for what is neither a connection nor gives some */
export function checkConnections(name: string, value: unknown): void {
  if (isDuplex(value) || (typeof value === 'object' && value !== null && Symbol.asyncIterator in value))
    return;
  throw invalidTypeError(name, 'a Duplex, or an async iterable of them', value);
}

/** The listeners in use, by the object that gives their connections. */
const listeners = new WeakMap<AsyncIterable<Duplex>, SharedListener>();

/**
 * Reads the first message of each connection, any number at a time, and hands it to what it is for. A connection of a
 * listener that begins with anything else is closed and ends no acceptor: any process can connect to a port.
 *
 * Any number of acceptors share a listener, one after the other or at once.
 */
export function acceptConnections(
  connections: Duplex | AsyncIterable<Duplex>,
  options: AcceptorOptions,
): Accepting {
  if ('write' in connections) return new SharedListener(undefined).acceptOnly(connections, options);
  let listener = listeners.get(connections);
  if (listener === undefined) listeners.set(connections, (listener = new SharedListener(connections)));
  return listener.join(options);
}
