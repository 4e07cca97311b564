import type { Duplex } from 'node:stream';
import { vi } from 'vitest';
import { digestTable } from '../../../lib/hpt/digest.js';
import { readTable } from '../../../lib/io/read-table.js';
import type { ReceiveReport } from '../../../lib/migration/destination/receive-report.js';
import { receiveHpt, type ReceiveOptions } from '../../../lib/migration/destination/receive.js';
import type { SendReport } from '../../../lib/migration/source/send-report.js';
import { sendHpt, type SendOptions } from '../../../lib/migration/source/send.js';
import { GuestWorkload } from '../../../lib/vm/emulated/guest-workload.js';
import type { HtabVm } from '../../../lib/vm/contract.js';
import { EmulatedVm } from '../../../lib/vm/emulated/emulated-vm.js';

export const ORDER = 18;

/** A guest that does something only when a test says so, and knows whether it was told to stand still. */
export class TestGuest {
  readonly vm: EmulatedVm;
  readonly workload: GuestWorkload;
  state: 'running' | 'paused' = 'running';
  pauses = 0;
  resumes = 0;

  constructor(vm: EmulatedVm, seed = 1, pages = 8000) {
    this.vm = vm;
    this.workload = new GuestWorkload(vm, { seed, pages, mix: { evict: 4 } });
  }

  readonly pause = (): Promise<void> => {
    this.pauses++;
    this.state = 'paused';
    return Promise.resolve();
  };

  readonly resume = (): Promise<void> => {
    this.resumes++;
    this.state = 'running';
    return Promise.resolve();
  };

  /** Options for `sendHpt` of this guest, which takes steps between frames as long as it runs. */
  options(more: Partial<SendOptions> = {}, stepsPerFrame = 20): SendOptions {
    return {
      pause: this.pause,
      resume: this.resume,
      maxPasses: 4,
      maxChangedEntries: 0,
      frameBytes: 4096,
      onProgress: () => {
        if (this.state === 'running') this.workload.step(stepsPerFrame);
      },
      ...more,
    };
  }
}

/** A guest whose table holds a thousand entries and more. */
export async function startGuest(
  steps = 4000,
  seed = 1,
  vm = new EmulatedVm({ host: 'power8' }),
  pages = 8000,
): Promise<TestGuest> {
  await vm.allocateHpt(ORDER);
  const guest = new TestGuest(vm, seed, pages);
  guest.workload.step(steps);
  return guest;
}

/** The same on a host whose MMU is set up, as that of a guest that has run is: only such a table can be resized. */
export async function bootGuest(steps = 4000, seed = 1, pages = 8000): Promise<TestGuest> {
  const memory = { guestAddress: 0n, size: 1n << 30n, hostPageShift: 24, populated: true };
  const vm = new EmulatedVm({ host: 'power8', memoryRegions: [memory] });
  await vm.allocateHpt(ORDER);
  vm.enterGuest();
  const guest = new TestGuest(vm, seed, pages);
  guest.workload.step(steps);
  return guest;
}

export interface Ended {
  readonly sent: PromiseSettledResult<SendReport>;
  readonly received: PromiseSettledResult<ReceiveReport>;
}

/** Runs a migration until both sides are done with it. */
export async function migrate(
  source: HtabVm,
  target: HtabVm,
  [ours, theirs]: readonly [Duplex, Duplex],
  send: SendOptions,
  receive: ReceiveOptions = {},
): Promise<Ended> {
  const [sent, received] = await Promise.allSettled([
    sendHpt(source, ours, send),
    receiveHpt(target, theirs, receive),
  ]);
  return { sent, received };
}

export async function digestOf(vm: HtabVm): Promise<string> {
  return digestTable(await readTable(vm));
}

export function reasonOf(result: PromiseSettledResult<unknown>): unknown {
  if (result.status === 'fulfilled') throw new Error('it went well');
  return result.reason;
}

/** Puts every timer, and `performance`'s clock, into the hands of {@link settleInFakeTime}. */
export function useFakeTime(): void {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'setInterval', 'clearInterval', 'performance'] });
}

/** Lets time pass, a second at a time if nothing else is said, whenever nothing goes on any more, until the promise has settled. */
export async function settleInFakeTime<T>(promise: Promise<T>, stepMs = 1000): Promise<T> {
  const state = { settled: false };
  const watch = promise.finally(() => (state.settled = true));
  watch.catch(() => undefined);
  for (;;) {
    // Within one process a turn of the event loop is enough for all that is neither a timer nor a file's; a few are on
    // the safe side.
    for (let turn = 0; turn < 10 || fileCallGoesOn(); turn++)
      await new Promise((resolve) => setImmediate(resolve));
    if (state.settled) return watch;
    await vi.advanceTimersByTimeAsync(stepMs);
  }
}

/** Whether a call is at the disk, which takes its own time. */
function fileCallGoesOn(): boolean {
  return process.getActiveResourcesInfo().some((name) => name.startsWith('FSReq') || name === 'CloseReq');
}
