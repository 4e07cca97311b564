import { INT_MAX, checkInteger, checkOneOf } from '../../base/arguments.js';
import { HtabUnavailableError } from '../../base/errors.js';
import { checkOptions, numbersOf } from '../../base/options.js';
import { sleep } from '../../base/time.js';
import { attempt } from '../call-result.js';
import { htabFlags } from '../ioctls.js';
import { type Addon, type Descriptor, loadAddon } from './addon.js';
import { ATTACH_OPTIONS, type AttachOptions } from './attach-options.js';
import { AttachedHandle } from './attached-handle.js';
import { findOrder } from './find-order.js';
import { toHandle } from './handover.js';
import type { KvmHandle } from './kvm-handle.js';
import { traceError } from './trace-errors.js';
import { VmmProcess } from './vmm-process.js';

/** How long a thread is looked for that waits in a system call, and the pause between two looks. */
const SEARCH_MS = 3000;
const SEARCH_PAUSE_MS = 20;
/** Entries that are read in about a millisecond: as long as a thread of the VMM stands for another descriptor. */
const READ_ON_ENTRIES = 1 << 18;

/** The table of a VMM that knows nothing of us; `sendHpt` and `saveSnapshot` take it. */
export interface AttachedHtab {
  /** A fresh descriptor. Close it, or give it to a function that does. */
  readonly handle: KvmHandle;
  /** log2 of the table's bytes, 18..36. */
  readonly order: number;
  /** Number of the VM's descriptor in the process. */
  readonly fd: number;
  /**
   * Opens another fresh read descriptor in the same way, whose first pass begins at this ptex. `readOnEntries` are rather
   * read than another thread stopped.
   */
  readonly reopen: ((startIndex: number) => Promise<KvmHandle>) & { readonly readOnEntries: number };
  /** {@link reopen} from entry 0 on: `receiveHpt` and `loadSnapshot` read a table back through it. */
  readonly openRead: () => Promise<KvmHandle>;
}

/**
 * Opens the table of a running VMM from outside, such as an unmodified QEMU: stops one of its threads that waits in a
 * system call, has it open an HTAB descriptor, takes that over and lets the thread go on where it was. Nothing stays there.
 * The thread stands for some milliseconds at most; vcpus run on. SECURITY.md says what that takes and what can go wrong.
 *
 * A table has one reader: a migration by the VMM loses entries to any other. So nothing is read while the process has an
 * HTAB descriptor of its own, and every read looks again. A QEMU says earlier through QMP that it migrates its guest:
 * `guardAgainstMigration` with `guardedHandle` asks it.
 *
 * @throws HtabUnavailableError `no-process`, `no-vm`, `several-vms`, `permission`, `traced`, `seccomp`, `no-thread`,
 *   `no-table` (radix), `arch` off ppc64le
 * @throws HtabStateError `in-use` if the VMM migrates its guest; so does a read of the handle where a migration has begun
 * @throws HtabSystemError if the ioctl or the tracer failed
 * @throws the signal's reason
 *
 * @example
 * const { handle, order } = await attachHtab({ pid: 4242 });
 * const table = await readTable(handle, { order });
 */
export async function attachHtab(options: AttachOptions): Promise<AttachedHtab> {
  checkOptions(options, ATTACH_OPTIONS);
  checkInteger('pid', options.pid, 1, INT_MAX);
  numbersOf(ATTACH_OPTIONS, options);
  const { access = 'read', signal } = options;
  checkOneOf('access', access, ATTACH_OPTIONS.access.choices);
  checkMachine();
  const addon = loadAddon();
  const attacher = new Attacher(addon, new VmmProcess(options.pid), options);
  await attacher.checkIdle(false);
  const fd = await attacher.findVm();
  const order = options.order ?? (await attacher.findOrder(fd));
  signal?.throwIfAborted();
  const reopen = Object.assign((startIndex: number) => attacher.open(fd, 'read', startIndex), {
    readOnEntries: READ_ON_ENTRIES,
  });
  const handle = await attacher.open(fd, access, 0);
  return { handle, order, fd, reopen, openRead: () => reopen(0) };
}

class Attacher {
  readonly #addon: Addon;
  readonly #process: VmmProcess;
  readonly #options: AttachOptions;

  constructor(addon: Addon, process: VmmProcess, options: AttachOptions) {
    this.#addon = addon;
    this.#process = process;
    this.#options = options;
  }

  readonly checkIdle = (begun: boolean): Promise<void> => this.#process.checkIdle(begun);

  findVm(): Promise<number> {
    return this.#process.findVm(this.#options.fd);
  }

  async findOrder(fd: number): Promise<number> {
    await using handle = await this.open(fd, 'read', 0);
    return await findOrder(handle, this.#options.signal);
  }

  async open(fd: number, access: 'read' | 'write', startIndex: number): Promise<KvmHandle> {
    const descriptor = await this.#openThere(fd, htabFlags({ access }), startIndex);
    return await toHandle(
      this.#addon,
      descriptor,
      (opened) => new AttachedHandle(this.#addon, descriptor, opened, this.checkIdle),
    );
  }

  /** Has one thread after the other tried, until one opens it. */
  async #openThere(fd: number, flags: number, startIndex: number): Promise<Descriptor> {
    const { pid } = this.#process;
    const operation = `open the table of process ${pid}`;
    const deadline = performance.now() + SEARCH_MS;
    let threads = 0;
    do {
      this.#options.signal?.throwIfAborted();
      const waiting = await this.#process.waitingThreads();
      threads = Math.max(threads, waiting.length);
      for (const { tid, hasSeccompFilter } of waiting) {
        try {
          return await attempt(operation, () =>
            this.#addon.openHtabIn(pid, tid, fd, flags, startIndex, hasSeccompFilter),
          );
        } catch (error) {
          const meaning = await traceError(pid, error);
          if (meaning !== undefined) throw meaning as Error;
        }
      }
      await sleep(SEARCH_PAUSE_MS, this.#options.signal);
    } while (performance.now() < deadline);
    throw noThreadError(pid, threads);
  }
}

function noThreadError(pid: number, threads: number): HtabUnavailableError {
  return new HtabUnavailableError(
    'no-thread',
    `no thread of process ${pid} could be stopped in a system call within ${SEARCH_MS} ms (${threads} waited in one)`,
    'its main loop is busy or hung: try again later, and check that the process is not stopped',
  );
}

/** @throws HtabUnavailableError where no machine code of ours could make a thread call, and no KVM has a table */
function checkMachine(): void {
  if (process.platform !== 'linux' || process.arch === 'ppc64') return;
  throw new HtabUnavailableError(
    'arch',
    `only KVM on ppc64le has hashed page tables; this is ${process.arch}`,
    'run on the POWER host of the guest; a snapshot or a file of QEMU can be read anywhere',
  );
}
