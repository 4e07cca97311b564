import type { Duplex } from 'node:stream';
import { Connection } from './connection.js';
import { unexpectedMessageError } from './lost-connection.js';
import { brokenConnectionError, migrationError, journalTimeoutError } from '../errors.js';
import { IdlePeers } from '../../transport/idle-peers.js';
import type { Journal } from '../journal/journal.js';
import type { Answer, Ask, Hello } from './messages.js';
import { TAKING, type Accepting, type AcceptorOptions, type Taker } from './taker.js';
import { within } from '../../base/time.js';

/** A listener goes on answering for so many journals of receivers that are done. */
const MAX_JOURNALS = 64;
/** Time for a peer to say what it wants once no receiver is left that could take it: shorter than a command may linger. */
const FAREWELL_MS = 500;

interface Joined {
  readonly options: AcceptorOptions;
  /** No more connections will come, or the listener has failed. */
  readonly end: (failure?: { readonly error: unknown }) => void;
}

/**
 * A listener, which stays its owner's: only `next()` is called, and only while there is an acceptor. When the last one
 * leaves, a call is still open: the connection that it gives is the next acceptor's, should there be one by then.
 */
export class SharedListener {
  readonly #connections: AsyncIterable<Duplex> | undefined;
  #iterator: AsyncIterator<Duplex> | undefined;
  #pulling = false;
  /** Oldest first. */
  readonly #joined = new Set<Joined>();
  /** By journal, the latest last; of receivers that are done too, whose sources may still ask. */
  readonly #answers = new Map<Journal, AcceptorOptions['answer']>();
  readonly #idle = new IdlePeers(brokenConnectionError);
  readonly #greetings = new Set<Promise<void>>();
  #farewell: NodeJS.Timeout | undefined;
  #timeoutMs = 0;

  constructor(connections: AsyncIterable<Duplex> | undefined) {
    this.#connections = connections;
  }

  join(options: AcceptorOptions): Accepting {
    const { signal } = options;
    const { promise, resolve, reject } = withResolvers();
    const joined: Joined = {
      options,
      end: (failure) => {
        if (failure === undefined) resolve();
        else reject(failure.error);
      },
    };
    this.#add(joined);
    const stop = (): void => {
      this.#joined.delete(joined);
      this.#sayFarewell();
    };
    const done = within(promise, Infinity, signal, () => undefined)
      .catch((error: unknown) => {
        if (signal?.aborted !== true) throw error;
      })
      .finally(stop);
    done.catch(() => undefined);
    void this.#pull();
    return { done, stop };
  }

  /** Accepts one connection. */
  acceptOnly(channel: Duplex, options: AcceptorOptions): Accepting {
    const joined: Joined = { options, end: () => undefined };
    this.#add(joined);
    const connection = new Connection(channel, 'source', options.timeoutMs, options.signal);
    return { done: this.#greet(channel, connection), stop: () => void this.#joined.delete(joined) };
  }

  #add(joined: Joined): void {
    const { journal, answer, timeoutMs } = joined.options;
    this.#joined.add(joined);
    this.#answers.delete(journal);
    this.#answers.set(journal, answer);
    this.#timeoutMs = timeoutMs;
    for (const known of this.#answers.keys()) {
      if (this.#answers.size <= MAX_JOURNALS) break;
      if (!this.#isInUse(known)) this.#answers.delete(known);
    }
  }

  #isInUse(journal: Journal): boolean {
    return [...this.#joined].some(({ options }) => options.journal === journal);
  }

  /** Takes connection after connection, as long as there is an acceptor. */
  async #pull(): Promise<void> {
    if (this.#pulling) return;
    this.#pulling = true;
    let failure: { readonly error: unknown } | undefined;
    try {
      while (this.#joined.size > 0) {
        this.#iterator ??= this.#connections![Symbol.asyncIterator]();
        const next: IteratorResult<Duplex, unknown> = await this.#iterator.next();
        if (next.done === true) {
          this.#iterator = undefined;
          break;
        }
        this.#arrived(next.value);
      }
    } catch (error) {
      this.#iterator = undefined;
      failure = { error };
    }
    this.#pulling = false;
    const waiting = [...this.#joined];
    // Of those that have come, one may be what is waited for.
    if (failure === undefined) await Promise.all(this.#greetings);
    for (const { end } of waiting) end(failure);
  }

  #arrived(channel: Duplex): void {
    const from = (channel as { readonly remoteAddress?: string }).remoteAddress;
    const connection = new Connection(channel, 'source', this.#timeoutMs, undefined);
    let dropped: Error | undefined;
    this.#idle.add(channel, (reason) => {
      dropped = reason;
      connection.drop();
    });
    const greeting = this.#greet(channel, connection)
      .catch((error: unknown) => {
        const told = [...this.#joined].find(({ options }) => options.onRefused !== undefined);
        told?.options.onRefused?.(dropped ?? error, from);
      })
      .finally(() => {
        this.#idle.delete(channel);
        this.#greetings.delete(greeting);
      });
    this.#greetings.add(greeting);
    this.#sayFarewell();
  }

  /** Reads a connection's first message and acts on it; rejects, with the channel closed, for any but `hello` and `ask`. */
  async #greet(channel: Duplex, connection: Connection): Promise<void> {
    const timeoutMs = this.#timeoutMs;
    try {
      // Heartbeats are no reason to keep a peer that does not say what it wants.
      const { message } = await connection.receive(timeoutMs);
      this.#idle.heard(channel);
      if (message.type === 'hello') {
        await this.#handOver(channel, connection, message);
      } else if (message.type === 'ask') {
        // From here on it ends with the answer, whatever becomes of what the signal is for.
        connection.ignoreSignal();
        const answered = this.#answer(message);
        const said = await within(answered, timeoutMs, undefined, () => journalTimeoutError(timeoutMs));
        await connection.finishWith({ type: 'outcome', ...said });
      } else {
        throw unexpectedMessageError('source', message, 'hello or ask');
      }
    } catch (error) {
      await connection.abort(error);
      throw error;
    }
  }

  /** Gives a source to its receiver; to the next one that fits, if that has taken another source meanwhile. */
  async #handOver(channel: Duplex, connection: Connection, hello: Hello): Promise<void> {
    for (let taken = false; !taken;) {
      const { taker, timeoutMs, signal } = this.#takerFor(hello);
      this.#idle.delete(channel);
      connection.adopt(timeoutMs, signal);
      taken = await taker.take(connection, hello);
      if (!taken) connection.ignoreSignal();
    }
  }

  /** The receiver that a source is for. */
  #takerFor(hello: Hello): AcceptorOptions & { readonly taker: Taker } {
    const receivers = [...this.#joined].map(({ options }) => options).filter(hasTaker);
    const fits = receivers.map(({ taker }) => taker.fit(hello));
    for (const fit of TAKING) {
      const receiver = receivers[fits.indexOf(fit)];
      if (receiver !== undefined) return receiver;
    }
    if (fits.includes('busy')) throw migrationError('this destination is busy with another migration');
    if (this.#joined.size > 0 && receivers.length === 0) {
      throw migrationError(
        'the process that listens at this address only answers outcome queries; start a receiver there',
      );
    }
    // The next receiver may not have been called yet, or wait for another connection of the same listener.
    throw brokenConnectionError(
      `no receiver waits for migration ${hello.migrationId}; start one for this id, or without an id`,
    );
  }

  /** What the latest journal has that knows the migration. */
  async #answer(asked: Ask): Promise<Answer> {
    const silent: Journal[] = [];
    for (const [journal, answer] of [...this.#answers].reverse()) {
      const said = await answer(asked).catch((error: unknown) => {
        if (this.#isInUse(journal)) throw error;
        // Its owner has closed it, now that its receiver is done. It may have what is asked for.
        silent.push(journal);
        return undefined;
      });
      if (said === undefined || said.outcome === 'unknown') continue;
      for (const { options } of this.#joined) options.taker?.answered(asked.migrationId, said.outcome);
      return said;
    }
    if (silent.length > 0) {
      throw brokenConnectionError(
        'the journal of a receiver that is done is closed; ask again once another one has opened it',
      );
    }
    return { outcome: 'unknown', digest: null };
  }

  /** Silent peers do not hold a process whose receivers are done. */
  #sayFarewell(): void {
    if (this.#joined.size > 0 || this.#idle.size === 0 || this.#farewell !== undefined) return;
    this.#farewell = setTimeout(() => {
      this.#farewell = undefined;
      if (this.#joined.size === 0)
        this.#idle.dropUnheard(brokenConnectionError('the last receiver has ended'));
    }, FAREWELL_MS).unref();
  }
}

function hasTaker(options: AcceptorOptions): options is AcceptorOptions & { readonly taker: Taker } {
  return options.taker !== undefined;
}

function withResolvers(): {
  promise: Promise<void>;
  resolve: () => void;
  reject: (error: unknown) => void;
} {
  let resolve!: () => void;
  let reject!: (error: unknown) => void;
  const promise = new Promise<void>((settle, fail) => {
    resolve = settle;
    reject = fail;
  });
  return { promise, resolve, reject };
}
