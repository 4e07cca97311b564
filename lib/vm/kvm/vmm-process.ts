import { readdir, readFile, readlink } from 'node:fs/promises';
import { HtabUnavailableError } from '../../base/errors.js';
import { sleep } from '../../base/time.js';
import { HTAB, VM } from './handover.js';
import { inUseError } from './in-use.js';
import { notPermittedError } from './trace-errors.js';

/**
 * How often descriptors are looked at again before they count as a migration's, and after how long: another program that
 * attaches has one there for some milliseconds.
 */
const LOOKS = 5;
const LOOK_PAUSE_MS = 40;

/**
 * System calls of ppc64 in which a thread waits and that a VMM does not make for a vcpu, the best first: those whose
 * callers know an answer that comes for no reason (README.md of native). The last is a wait that was interrupted before.
 */
const WAITING = new Map(
  [
    ['ppoll', 281],
    ['poll', 167],
    ['pselect6', 280],
    ['select', 142],
    ['clock_nanosleep', 248],
    ['nanosleep', 162],
    ['rt_sigtimedwait', 176],
    ['epoll_pwait', 303],
    ['epoll_wait', 238],
    ['restart_syscall', 0],
    ['accept4', 344],
    ['accept', 330],
  ].map(([, number], rank) => [number, rank]),
);

/** A thread that waits in a system call. */
export interface WaitingThread {
  readonly tid: number;
  /** A filter judges its system calls. */
  readonly hasSeccompFilter: boolean;
}

/** What /proc tells of a process that has a VM. */
export class VmmProcess {
  readonly pid: number;

  constructor(pid: number) {
    this.pid = pid;
  }

  /**
   * The number of its VM's descriptor.
   *
   * @param wanted which one, where there are several
   * @throws HtabUnavailableError `no-vm`, `several-vms`, `no-process`, `permission`
   */
  async findVm(wanted: number | undefined): Promise<number> {
    const numbers = await this.#numbersOf(VM);
    if (wanted !== undefined && numbers.includes(wanted)) return wanted;
    const list = numbers.join(', ');
    if (numbers.length === 0) {
      throw new HtabUnavailableError(
        'no-vm',
        `process ${this.pid} has no VM (no descriptor of "${VM}")`,
        'give the pid of the VMM itself, not of its shell or of libvirtd; its guest must use KVM',
      );
    }
    if (wanted !== undefined) {
      throw new HtabUnavailableError(
        'no-vm',
        `descriptor ${wanted} of process ${this.pid} is no VM`,
        `its VMs are descriptors ${list}`,
      );
    }
    if (numbers.length === 1) return numbers[0]!;
    throw new HtabUnavailableError(
      'several-vms',
      `process ${this.pid} has ${numbers.length} VMs`,
      `choose one by its descriptor (fd, --vm-fd): ${list}`,
    );
  }

  /**
   * Looks whether something else reads the table.
   *
   * @param begun whether a read of ours may have taken marks
   * @throws HtabStateError `in-use`
   * @throws HtabUnavailableError `no-process`, `permission`
   */
  async checkIdle(begun: boolean): Promise<void> {
    let found = await this.#numbersOf(HTAB);
    for (let look = 1; look < LOOKS && found.length > 0; look++) {
      await sleep(LOOK_PAUSE_MS);
      const again = await this.#numbersOf(HTAB);
      found = found.filter((number) => again.includes(number));
    }
    if (found.length === 0) return;
    throw inUseError(`process ${this.pid} has an HTAB descriptor open (${found.join(', ')})`, begun);
  }

  /**
   * Threads that wait in a system call, the best to stop first; vcpus are not among them.
   *
   * @throws HtabUnavailableError `traced`, `seccomp`, `no-process`, `permission`
   */
  async waitingThreads(): Promise<WaitingThread[]> {
    const found: (WaitingThread & { readonly rank: number })[] = [];
    for (const name of await this.#read('task', (path) => readdir(path))) {
      const rank = await this.#rankOf(name);
      if (rank === undefined) continue;
      const hasSeccompFilter = await this.#checkFree(name);
      if (hasSeccompFilter !== undefined) found.push({ tid: Number(name), hasSeccompFilter, rank });
    }
    return found.sort((one, other) => one.rank - other.rank);
  }

  async #rankOf(tid: string): Promise<number | undefined> {
    const call = await this.#ofThread(tid, 'syscall');
    const [, number] = /^(\d+) /.exec(call ?? '') ?? [];
    return number === undefined ? undefined : WAITING.get(Number(number));
  }

  /** @returns whether a filter judges its system calls; undefined for a thread that has gone */
  async #checkFree(tid: string): Promise<boolean | undefined> {
    const status = await this.#ofThread(tid, 'status');
    if (status === undefined) return undefined;
    const field = (name: string): number =>
      Number(new RegExp(`^${name}:\\s*(\\d+)$`, 'm').exec(status)?.[1] ?? 0);
    const tracer = field('TracerPid');
    if (tracer !== 0) {
      throw new HtabUnavailableError(
        'traced',
        `process ${tracer} traces thread ${tid} of process ${this.pid}`,
        'a thread has one tracer at most: end the debugger or strace, or wait for the other program',
      );
    }
    return field('Seccomp') !== 0;
  }

  /** A file of a thread, which may end at any time. */
  async #ofThread(tid: string, file: string): Promise<string | undefined> {
    return readFile(`/proc/${this.pid}/task/${tid}/${file}`, 'utf8').catch((error: unknown) => {
      const { code } = error as NodeJS.ErrnoException;
      if (code === 'ENOENT' || code === 'ESRCH') return undefined;
      return this.#explain(error);
    });
  }

  async #numbersOf(file: typeof VM | typeof HTAB): Promise<number[]> {
    const names = await this.#read('fd', (path) => readdir(path));
    const links = await Promise.all(
      // A descriptor may be closed at any time.
      names.map((name) => readlink(`/proc/${this.pid}/fd/${name}`).catch(() => '')),
    );
    return names.filter((_, at) => links[at] === file).map(Number);
  }

  #read<T>(part: string, read: (path: string) => Promise<T>): Promise<T> {
    return read(`/proc/${this.pid}/${part}`).catch((error: unknown) => this.#explain(error));
  }

  async #explain(error: unknown): Promise<never> {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'EACCES' || code === 'EPERM') throw await notPermittedError(this.pid, error);
    if (code !== 'ENOENT' && code !== 'ESRCH') throw error;
    throw new HtabUnavailableError(
      'no-process',
      `there is no process ${this.pid}`,
      'check the pid, that both processes are in one pid namespace, and that /proc is mounted',
      { cause: error },
    );
  }
}
