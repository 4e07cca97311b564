import { createHash } from 'node:crypto';
import { MAX_EMPTY_PASSES } from '../../precopy/policy.js';
import type { PassCounts } from '../../records/pass-counter.js';
import { migrationError, verifyError } from '../errors.js';
import { channels } from '../events.js';
import type { Connection } from '../wire/connection.js';
import { unexpectedMessageError } from '../wire/lost-connection.js';
import type { MessageOf } from '../wire/messages.js';
import type { ReceiveProgress } from './receive-report.js';
import { StateBuffer } from './state-buffer.js';
import type { TableCopy } from './table-copy.js';

export interface PassTakerOptions {
  readonly migrationId: string;
  /** The source moves all of its guest: state may come after the last pass. */
  readonly withRest: boolean;
  readonly onProgress: ((progress: ReceiveProgress) => void) | undefined;
}

/** What one connection has brought. */
export interface Taken {
  /** Of the records, and of the state after them. */
  readonly digest: string;
  readonly state: Uint8Array;
}

/** Takes what a source sends over one connection, up to its `prepare`. */
export class PassTaker {
  readonly #connection: Connection;
  readonly #copy: TableCopy;
  readonly #options: PassTakerOptions;
  readonly #received = createHash('sha256');
  readonly #state = new StateBuffer();

  constructor(connection: Connection, copy: TableCopy, options: PassTakerOptions) {
    this.#connection = connection;
    this.#copy = copy;
    this.#options = options;
  }

  /**
   * Applies pass upon pass, until the source says that it has no more, and compares with what it says it sent. Takes no
   * longer for a large table: the guest stands still meanwhile.
   *
   * @throws HtabError `ERR_HTAB_VERIFY` if they differ
   */
  async take(): Promise<Taken> {
    let emptyPasses = 0;
    for (;;) {
      const { message } = await this.#connection.receive();
      const pass = this.#copy.passes + 1;
      if (pass > 1 && message.type === 'prepare') return this.#verify(message);
      if (pass > 1 && message.type === 'state' && this.#options.withRest) return this.#takeState(message);
      if (message.type !== 'pass-begin' || message.pass !== pass) {
        throw unexpectedMessageError('source', message, `pass-begin of pass ${pass}`);
      }
      emptyPasses = (await this.#takePass(pass)) === 0 ? emptyPasses + 1 : 0;
      if (emptyPasses > MAX_EMPTY_PASSES) {
        throw migrationError(
          `the source made ${emptyPasses} passes in a row without an entry, and did not finish; ` +
            `at most ${MAX_EMPTY_PASSES} are accepted`,
        );
      }
    }
  }

  /** @returns entries that the pass named */
  async #takePass(pass: number): Promise<number> {
    const copy = this.#copy;
    copy.beginPass();
    const begun = performance.now();
    for (;;) {
      const { message, sequence } = await this.#connection.receive();
      if (message.type === 'data') {
        await this.#apply(message.records);
        await this.#connection.send({ type: 'applied', sequence });
        this.#options.onProgress?.({ pass, bytes: copy.bytes, validEntries: copy.table.validCount });
        continue;
      }
      if (message.type !== 'pass-end') throw unexpectedMessageError('source', message, 'data or pass-end');
      const arrived = copy.counts;
      if (message.pass !== pass || !sameCounts(message, arrived)) {
        throw migrationError(
          `the source says that pass ${message.pass} had ${describe(message)}; pass ${pass} had ${describe(arrived)}`,
        );
      }
      const applied = performance.now();
      await copy.endPass();
      const ended = performance.now();
      await this.#connection.send({ type: 'applied', sequence });
      const { migrationId } = this.#options;
      const times = { durationMs: ended - begun, readBackMs: ended - applied };
      channels.pass.publish({ side: 'destination', migrationId, pass, ...arrived, ...times });
      return arrived.validEntries + arrived.invalidEntries;
    }
  }

  async #apply(records: Uint8Array): Promise<void> {
    // What brings nothing could go on for ever.
    if (records.length === 0) throw migrationError('the source sent a data frame without a record');
    await this.#copy.apply(records);
    this.#received.update(records);
  }

  /** Nothing but more of it comes after the first state. */
  async #takeState(first: MessageOf<'state'>): Promise<Taken> {
    for (let { bytes } = first; ;) {
      if (bytes.length === 0) throw migrationError('the source sent a state frame without a byte');
      this.#state.append(bytes);
      this.#received.update(bytes);
      const { message } = await this.#connection.receive();
      if (message.type === 'prepare') return this.#verify(message);
      if (message.type !== 'state') throw unexpectedMessageError('source', message, 'state or prepare');
      ({ bytes } = message);
    }
  }

  #verify(sent: MessageOf<'prepare'>): Taken {
    const digest = this.#received.copy().digest('hex');
    const { validCount } = this.#copy.table;
    if (digest !== sent.digest || validCount !== sent.validEntries) {
      throw verifyError(
        `the table received is not the one sent: it has ${validCount} valid entries from records with digest ${digest}, ` +
          `and should have ${sent.validEntries} from records with digest ${sent.digest}`,
      );
    }
    const state = this.#state.bytes;
    if (this.#options.withRest && state.length !== sent.stateBytes) {
      throw verifyError(
        `the state received is not the one sent: it has ${state.length} bytes, and should have ${sent.stateBytes ?? 'a stated number'}`,
      );
    }
    return { digest, state };
  }
}

function sameCounts(a: PassCounts, b: PassCounts): boolean {
  return a.validEntries === b.validEntries && a.invalidEntries === b.invalidEntries && a.bytes === b.bytes;
}

function describe({ validEntries, invalidEntries, bytes }: PassCounts): string {
  return `${validEntries} valid and ${invalidEntries} invalid entries in ${bytes} bytes`;
}
