import { once } from 'node:events';
import type { Duplex } from 'node:stream';
import { expect, onTestFinished } from 'vitest';
import type { Listener } from '../../lib/transport/listen.js';
import type { SecurityOptions } from '../../lib/transport/security.js';
import { connect, listen } from '../../lib/transport/transport.js';

interface Refusal {
  readonly reason: Error & { readonly code?: string };
  readonly from: string | undefined;
}

export async function listenAt(
  text: string,
  options: SecurityOptions = {},
): Promise<{ listener: Listener; connections: AsyncIterator<Duplex>; refusals: Refusal[] }> {
  const refusals: Refusal[] = [];
  const onRefused = (reason: unknown, from: string | undefined): void => {
    refusals.push({ reason: reason as Error, from });
  };
  const listener = await listen(text, { ...options, onRefused });
  onTestFinished(() => {
    listener.close();
  });
  return { listener, connections: listener[Symbol.asyncIterator](), refusals };
}

export async function connectTo(text: string, options: SecurityOptions = {}): Promise<Duplex> {
  const channel = await connect(text, options);
  onTestFinished(() => {
    channel.destroy();
  });
  return channel;
}

/** Makes sure that what one end writes comes out at the other, both ways. */
export async function expectConnected(ours: Duplex, theirs: Duplex): Promise<void> {
  for (const [from, to] of [
    [ours, theirs],
    [theirs, ours],
  ] as const) {
    from.write('ping');
    const read = (): Buffer | null => to.read(4) as Buffer | null;
    let bytes = read();
    for (; bytes === null; bytes = read()) await once(to, 'readable');
    expect(bytes.toString()).toBe('ping');
  }
}

export async function next(connections: AsyncIterator<Duplex>): Promise<Duplex> {
  const result = await connections.next();
  if (result.done === true) throw new Error('the listener was closed');
  const channel = result.value;
  onTestFinished(() => {
    channel.destroy();
  });
  return channel;
}
