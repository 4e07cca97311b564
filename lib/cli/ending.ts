import type { Writable } from 'node:stream';
import { setImmediate } from 'node:timers/promises';
import { tryBriefly } from '../base/time.js';
import type { Output } from './output.js';

/** Time for the last message to a peer to arrive; and, after a signal, for the output to be read. */
const LAST_WORDS_MS = 1000;
/** Time for a last file call, or a command that controls the guest, to end by itself. */
const LAST_CALL_MS = 10_000;
const CHECK_MS = 100;

/**
 * Ends the process explicitly: when an event loop just runs empty, Node removes the signal handlers some 100 ms before the
 * process is gone, and a signal then would end it with a status that denies what has been done.
 */
export class Ending {
  readonly #output: Output;
  readonly #hurried: Promise<void>;
  #hurry!: () => void;

  constructor(output: Output) {
    this.#output = output;
    this.#hurried = new Promise((resolve) => (this.#hurry = resolve));
  }

  /** A signal came after the job was done: the exit code stands, and waits become short. */
  readonly hurry = (): void => {
    this.#hurry();
  };

  /** Waits until all output has been taken: without limit, because its reader may be slow, or one second after a signal. */
  async drain(): Promise<void> {
    const { stdout, stderr } = this.#output;
    const drained = Promise.all([taken(stdout), taken(stderr)]);
    await Promise.race([drained, this.#hurried]);
    await tryBriefly(() => drained, LAST_WORDS_MS);
  }

  /** Ends the process with this code, once the output has been taken and nothing runs that must not be cut off. */
  async end(exitCode: number): Promise<never> {
    await this.drain();
    await Promise.race([this.#hurried, idle(), this.#lastCalls()]);
    await this.drain();
    return leave(exitCode);
  }

  /** These timers do not keep the process alive: with nothing else running it is idle. */
  async #lastCalls(): Promise<void> {
    const begun = performance.now();
    await new Promise<void>((resolve) => {
      setInterval(() => {
        const waitedMs = performance.now() - begun;
        if (waitedMs > (isHeld() ? LAST_CALL_MS : LAST_WORDS_MS)) resolve();
      }, CHECK_MS).unref();
    });
    if (fileCallHangs()) {
      this.#output.stderr.write('kvm-htab: a file operation is hung; exiting without it. Check the disk\n');
    }
  }
}

/** Resolves once all output has been taken, or never will be. */
function taken(stream: Writable): Promise<void> {
  return new Promise((resolve) => {
    const done = (): void => {
      resolve();
    };
    // A stream that has failed keeps what is written to it, and calls nothing back.
    if (stream.errored !== null) done();
    stream.once('error', done);
    stream.write('', done);
  });
}

/** Resolves when nothing is running any more. */
function idle(): Promise<void> {
  return new Promise((resolve) => {
    process.once('beforeExit', () => {
      resolve();
    });
  });
}

function fileCallHangs(): boolean {
  return process.getActiveResourcesInfo().some((name) => name.startsWith('FSReq') || name === 'CloseReq');
}

/** Whether something runs that must not be cut off: a journal's write, or a command that stops or resumes the guest. */
function isHeld(): boolean {
  return fileCallHangs() || process.getActiveResourcesInfo().includes('ProcessWrap');
}

/** Ends the process; during a hung file call without exit handlers, because process.exit() waits for all threads. */
async function leave(exitCode: number): Promise<never> {
  // The last write's own callback may have led here: that call only counts as ended afterwards.
  await setImmediate();
  if (fileCallHangs()) {
    const { loadAddon } = await import('../vm/kvm/addon.js');
    try {
      loadAddon().exitNow(exitCode);
    } catch {
      // Without the addon, the process ends when the call does.
    }
  }
  process.exit(exitCode);
}
