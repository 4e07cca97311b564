import type { GuestWorkload } from './guest-workload.js';

/** A workload that can be stopped and let go on, as a VMM does with its guest. */
export class RunningGuest {
  readonly #workload: GuestWorkload;
  readonly #stepsPerSecond: number;
  #stop = new AbortController();
  #run: Promise<number> | undefined;

  constructor(workload: GuestWorkload, stepsPerSecond: number) {
    this.#workload = workload;
    this.#stepsPerSecond = stepsPerSecond;
  }

  resume(): void {
    if (this.#run !== undefined) return;
    this.#stop = new AbortController();
    this.#run = this.#workload.run({ stepsPerSecond: this.#stepsPerSecond, signal: this.#stop.signal });
    // A failure shows when the guest is paused; until then nothing awaits it.
    this.#run.catch(() => undefined);
  }

  /** Resolves once the guest stands still. */
  async pause(): Promise<void> {
    this.#stop.abort();
    await this.#run;
    this.#run = undefined;
  }
}
