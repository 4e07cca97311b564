import { migrationError } from '../../migration/errors.js';
import { QemuStreamParser } from '../stream/parser.js';
import { type Expectations, judgeTable } from './judge.js';
import { refuseWhatShows, tableRefusal } from './refusals.js';
import { type StopShare, StopWatch } from './stop-watch.js';

/**
 * Reads a migration before it goes on. What it has taken may go on: whatever it throws at, the destination never gets the
 * rest, and so never runs the guest.
 */
export class StreamWatch {
  readonly #stop = new StopWatch();
  readonly #expectations: Expectations;
  readonly parser: QemuStreamParser;
  #judged = false;
  #share: StopShare | undefined;
  /** The share is that of all of the stop. */
  #ended = false;

  constructor(expectations: Expectations) {
    this.#expectations = expectations;
    this.parser = new QemuStreamParser({
      onPayload: this.#stop.onPayload,
      onPart: this.#stop.onPart,
      onDevices: () => {
        refuseWhatShows(this.parser);
        judgeTable(this.parser, this.#expectations);
        this.#judged = true;
      },
    });
  }

  /** The table is right, and devices go on. */
  get judged(): boolean {
    return this.#judged;
  }

  /** With what has been taken, the destination may have all of the guest. */
  get whole(): boolean {
    return this.parser.mayBeWhole;
  }

  /** The source waits until the destination says that it has the guest. */
  get returnPath(): boolean {
    return this.parser.commands.has('open-return-path');
  }

  get stop(): StopShare | undefined {
    return this.#share;
  }

  /**
   * Takes the next bytes.
   *
   * @throws HtabError if they may not go on
   */
  take(chunk: Uint8Array): void {
    const { parser } = this;
    parser.push(chunk);
    refuseWhatShows(parser);
    if (!this.whole) return;
    if (!this.#judged) {
      throw tableRefusal(
        parser,
        'a section without a footer hides the rest of the stream, and the table in it',
      );
    }
    // A mark in the state of a device may look like that of the end; then another one follows.
    if (!this.#ended) this.#share = this.#stop.share(parser.offset);
    this.#ended = parser.atEnd;
  }

  /** Notes that what follows the end of the sections cannot be read. QEMU does not need it. */
  setUnreadable({ message }: Error): void {
    const { findings, offset } = this.parser;
    findings.add('no-description', `what follows the sections cannot be read: ${message}`, {
      byteOffset: offset,
    });
  }

  /** @throws HtabError if the stream ends before its end */
  finish(): void {
    this.parser.finish();
  }

  /** What has become of a migration whose source has gone. */
  sourceGone(cause?: unknown): Error {
    return migrationError(
      `the source ended the migration at byte ${this.parser.offset}; look at its query-migrate`,
      cause,
    );
  }
}
