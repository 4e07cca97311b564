import type { Duplex } from 'node:stream';
import { MAX_MS, sleep, within } from '../../base/time.js';
import { brokenConnectionError, isBrokenConnection, migrationError } from '../../migration/errors.js';
import type { SourceRest } from '../../migration/rest.js';
import { dial } from '../../transport/dial.js';
import type { AgentGuest } from './guest.js';
import { MemoryRounds, type OnRound } from './rounds.js';
import { helloOf, memoryLink, type MemoryLink } from './wire.js';

/** From the end of a round to the next dirty log, and from a failure to the next connection. */
const WAIT_MS = 100;
/** Longest time without a connection. */
const RECONNECT_MS = 30_000;

/**
 * The agent at the source: copies the guest's memory while the guest runs, over connections that it makes itself, and gives
 * `sendHpt` what it asks of the rest. A connection that breaks is made again, and the pages in flight are sent again.
 *
 * @example
 * await using agent = new SourceAgent(guest, () => connect('tls://host-b:7001', tls), migrationId);
 * const { pause, resume, rest } = agent;
 * await sendHpt(table, () => connect('tls://host-b:7000', tls), { migrationId, pause, resume, rest });
 */
export class SourceAgent implements AsyncDisposable {
  readonly rest: SourceRest = {
    stopMs: async () => {
      this.#over.signal.throwIfAborted();
      return this.#link === undefined ? Infinity : this.#rounds.stopMs();
    },
    finish: async ({ signal }) => {
      this.#live.abort();
      const round = this.#working.then(() => this.#round(false, signal));
      this.#working = round.catch(() => undefined);
      const digest = await within(round, MAX_MS + 1, signal, () => undefined);
      return Buffer.concat([Buffer.from(digest, 'hex'), await this.#guest.registers()]);
    },
  };
  readonly #guest: AgentGuest;
  readonly #connect: () => Promise<Duplex>;
  readonly #name: string;
  readonly #rounds: MemoryRounds;
  /** Aborts when the agent has been closed, or has failed for good. */
  readonly #over = new AbortController();
  /** Ends the rounds of a guest that runs. */
  #live = new AbortController();
  /** What goes on over the connection. What comes next waits for it. */
  #working: Promise<unknown> = Promise.resolve();
  #link: MemoryLink | undefined;

  /**
   * @param name of the migration: the destination's agent expects it
   * @param onProgress called after every frame of a round, and once the destination has confirmed it
   */
  constructor(guest: AgentGuest, connect: () => Promise<Duplex>, name: string, onProgress?: OnRound) {
    this.#guest = guest;
    this.#connect = connect;
    this.#name = name;
    this.#rounds = new MemoryRounds(guest.memory, onProgress);
    this.#copyLive();
  }

  readonly pause = (): Promise<void> => this.#guest.pause();

  readonly resume = async (): Promise<void> => {
    await this.#guest.resume();
    this.#copyLive();
  };

  /** Sends no more. The guest is left as it is. */
  readonly close = async (): Promise<void> => {
    this.#over.abort(migrationError('the agent at the source has been closed'));
    this.#link?.close();
    await this.#working;
  };

  readonly [Symbol.asyncDispose] = this.close;

  /** Round after round, until the guest has been stopped or the agent is over. */
  #copyLive(): void {
    this.#live.abort();
    const { signal } = (this.#live = new AbortController());
    const copying = this.#working.then(async () => {
      for (;;) await this.#round(true, signal).then(() => sleep(WAIT_MS, signal));
    });
    this.#working = copying.catch(() => undefined);
  }

  /** One round, over as many connections as it takes. @throws the reason of the signal, or of the agent's end */
  async #round(live: boolean, signal: AbortSignal): Promise<string> {
    const cut = AbortSignal.any([signal, this.#over.signal]);
    cut.throwIfAborted();
    for (let endsAt = Infinity; ;) {
      try {
        this.#link ??= await this.#dial(cut);
        endsAt = Infinity;
        return await this.#rounds.send(this.#link, live, cut);
      } catch (error) {
        // Between two frames: the connection is whole.
        if (error === cut.reason) throw error;
        this.#link?.close();
        this.#link = undefined;
        endsAt = Math.min(endsAt, performance.now() + RECONNECT_MS);
        if (!isBrokenConnection(error) || performance.now() >= endsAt) this.#over.abort(error);
      }
      await sleep(WAIT_MS, cut);
    }
  }

  async #dial(signal: AbortSignal): Promise<MemoryLink> {
    const late = (cause?: unknown): Error => brokenConnectionError('the other agent is out of reach', cause);
    const connecting = this.#connect().catch((cause: unknown) => Promise.reject(late(cause)));
    const link = memoryLink(await dial(connecting, { timeoutMs: RECONNECT_MS, signal, late }));
    const greeted = link.tell('hello', helloOf(this.#name, this.#guest.memory.bytes));
    const welcome = greeted.then(() => link.expect('welcome'));
    welcome.catch(() => link.close());
    this.#rounds.reconnected(!(await welcome).keeps);
    return link;
  }
}
