import type { Duplex } from 'node:stream';
import { SparseBitmap } from '../../hpt/bitmap.js';
import { isBrokenConnection, migrationError, verifyError } from '../../migration/errors.js';
import type { DestinationRest } from '../../migration/rest.js';
import type { AgentGuest } from './guest.js';
import { decodePages, helloOf, invalidError, memoryLink, type MemoryLink, UNIT_BYTES } from './wire.js';

const DIGEST_BYTES = 32;
const ZEROS = Buffer.alloc(UNIT_BYTES);

/**
 * The agent at the destination: puts the guest's memory in its place, and gives `receiveHpt` what it asks of the rest. The
 * guest's memory must be all zeros when it begins. One agent takes one migration.
 *
 * @example
 * const agent = new DestinationAgent(guest, migrationId);
 * const { rest } = agent;
 * void (async () => { for await (const channel of memoryListener) agent.take(channel); })();
 * await receiveHpt(target, tableListener, { migrationId, rest });
 */
export class DestinationAgent {
  readonly rest: DestinationRest = {
    accept: async (state) => {
      const digest = Buffer.from(state.subarray(0, DIGEST_BYTES)).toString('hex');
      if (this.#whole !== digest) throw verifyError('not all memory is here, or not that of these registers');
      await this.#guest.setRegisters(state.subarray(DIGEST_BYTES));
    },
    discard: async () => {
      await this.#end();
      await this.#zero(0, this.#written.size);
    },
    run: async () => {
      await this.#end();
      await this.#guest.resume();
    },
  };
  readonly #guest: AgentGuest;
  readonly #name: string;
  /** Units that have come, and those that may not be zeros. */
  readonly #come: SparseBitmap;
  readonly #written: SparseBitmap;
  /** Digest of the connection at the end of its last round, if all memory is here; until more comes. */
  #whole: string | undefined;
  #link: MemoryLink | undefined;
  /** What goes on over the connection: the next one waits for it. */
  #serving: Promise<void> = Promise.resolve();
  #ended = false;

  /** @param name of the migration, as the source's agent has it */
  constructor(guest: AgentGuest, name: string) {
    this.#guest = guest;
    this.#name = name;
    this.#come = new SparseBitmap(guest.memory.bytes / UNIT_BYTES);
    this.#written = new SparseBitmap(this.#come.size);
  }

  /** Takes a connection of the source's agent. It replaces the one before once the source has said who it is. */
  take(channel: Duplex): void {
    const link = memoryLink(channel);
    this.#greet(link).catch((error: unknown) => {
      if (isBrokenConnection(error)) link.close();
      // It must not try again, and is told why.
      else void link.refuse(String(error));
    });
  }

  async #greet(link: MemoryLink): Promise<void> {
    const hello = JSON.stringify(await link.expect('hello'));
    const expected = JSON.stringify(helloOf(this.#name, this.#guest.memory.bytes));
    if (this.#ended) throw migrationError('this migration has ended here');
    if (hello !== expected) throw migrationError(`the source has ${hello}; ${expected} is expected here`);
    this.#link?.close();
    this.#link = link;
    const served = this.#serving.then(() => this.#serve(link));
    this.#serving = served.catch(() => undefined);
    await served;
  }

  async #serve(link: MemoryLink): Promise<void> {
    await link.tell('welcome', { keeps: this.#isComplete });
    for (;;) {
      const { type, payload } = await link.wait();
      if (type === 'pages') await this.#put(payload);
      else if (type === 'round') {
        if (this.#isComplete) this.#whole = link.digest;
        await link.tell('applied', {});
      } else throw invalidError(`${type} is not due`);
    }
  }

  get #isComplete(): boolean {
    return this.#come.count === this.#come.size;
  }

  async #put(payload: Buffer): Promise<void> {
    const { memory } = this.#guest;
    const [start, end, contents] = decodePages(payload, memory.bytes);
    const [from, to] = [start / UNIT_BYTES, end / UNIT_BYTES];
    this.#whole = undefined;
    if (contents.length === 0) await this.#zero(from, to);
    else {
      this.#written.addRange(from, to);
      await memory.write(start, contents);
    }
    this.#come.addRange(from, to);
  }

  async #zero(from: number, to: number): Promise<void> {
    for (let unit = from; (unit = this.#written.next(unit, to)) < to; unit++)
      await this.#guest.memory.write(unit * UNIT_BYTES, ZEROS);
    this.#written.deleteRange(from, to);
  }

  /** From here on no connection changes the memory. */
  async #end(): Promise<void> {
    this.#ended = true;
    this.#link?.close();
    await this.#serving;
  }
}
