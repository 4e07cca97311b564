import type { Duplex } from 'node:stream';
import { invalidType } from '../arguments.js';
import { Connection, unexpected } from './connection.js';
import { isDuplex } from './dialer.js';
import { silentJournal } from './failure.js';
import type { AskedOutcome, Hello } from './protocol.js';
import { within } from '../node/waiting.js';

/** Connections that have not yet said what they want; more are closed at once. */
const MAX_UNGREETED = 16;

export interface AcceptorOptions {
  readonly timeoutMs: number;
  readonly signal: AbortSignal | undefined;
  /** What to answer a source that asks. */
  readonly answer: (migrationId: string) => Promise<AskedOutcome>;
  /** Takes a connection of a source that has said hello. */
  readonly take: (connection: Connection, hello: Hello) => void | Promise<void>;
  /** Told of a listener's connection that was closed because of this. */
  readonly onRefused?: ((reason: unknown) => void) | undefined;
}

/** @throws TypeError (`ERR_INVALID_ARG_TYPE`) for what is neither a connection nor gives some */
export function checkConnections(name: string, value: unknown): void {
  if (isDuplex(value) || (typeof value === 'object' && value !== null && Symbol.asyncIterator in value))
    return;
  throw invalidType(name, 'a Duplex, or an async iterable of them', value);
}

/** Connections being accepted. */
export interface Accepting {
  /** Resolves when no more will come, or the signal is aborted; rejects if the connections failed, or the only one did. */
  readonly done: Promise<void>;
  /** Takes no further connection from the listener. */
  readonly stop: () => void;
}

/**
 * Finds out what each connection wants, any number at a time, and lets it have that. A connection of a listener that
 * says nothing proper is closed and forgotten: anybody can connect to a port.
 *
 * A listener stays its owner's: only `next()` is called. At the end one call is still open; the connection that it
 * gives is served like the others.
 */
export function acceptConnections(
  connections: Duplex | AsyncIterable<Duplex>,
  options: AcceptorOptions,
): Accepting {
  const { signal } = options;
  const ended = { yes: false };
  const stop = (): void => {
    ended.yes = true;
  };
  if ('write' in connections) return { done: greet(connections, options), stop };
  const done = within(acceptAll(connections, options, ended), Infinity, signal, () => undefined).catch(
    (error: unknown) => {
      if (signal?.aborted !== true) throw error;
    },
  );
  done.then(stop, stop);
  return { done, stop };
}

async function acceptAll(
  connections: AsyncIterable<Duplex>,
  options: AcceptorOptions,
  ended: { readonly yes: boolean },
): Promise<void> {
  const iterator = connections[Symbol.asyncIterator]();
  const ungreeted = new Set<Promise<void>>();
  while (!ended.yes) {
    const next: IteratorResult<Duplex, unknown> = await iterator.next();
    if (next.done === true) break;
    const channel = next.value;
    if (ungreeted.size >= MAX_UNGREETED) {
      channel.on('error', () => undefined).destroy();
      continue;
    }
    const greeting = greet(channel, options)
      .catch((error: unknown) => {
        if (options.signal?.aborted !== true) options.onRefused?.(error);
      })
      .finally(() => ungreeted.delete(greeting));
    ungreeted.add(greeting);
  }
  await Promise.all(ungreeted);
}

/** Hears what a connection wants; rejects, with the channel closed, if that is nothing proper. */
async function greet(channel: Duplex, { timeoutMs, signal, answer, take }: AcceptorOptions): Promise<void> {
  const connection = new Connection(channel, timeoutMs, signal);
  try {
    // Heartbeats are no reason to keep somebody waiting who has not said what it wants.
    const { message } = await connection.receive(timeoutMs);
    if (message.type === 'hello') {
      await take(connection, message);
    } else if (message.type === 'ask') {
      // From here on it ends with the answer, whatever becomes of what the signal is for.
      connection.ignoreSignal();
      const answered = answer(message.migrationId);
      const outcome = await within(answered, timeoutMs, undefined, () => silentJournal(timeoutMs));
      await connection.finishWith({ type: 'outcome', outcome });
    } else {
      throw unexpected(message, 'hello');
    }
  } catch (error) {
    await connection.abort(error);
    throw error;
  }
}
