import type { GuestWorkload } from './guest-workload.js';

/** A workload that can be stopped and let go on, as a VMM does with its guest. */
export class RunningGuest {
  readonly #workload: GuestWorkload;
  readonly #pace: { readonly stepsPerSecond: number };
  #stop = new AbortController();
  #run: Promise<number> | undefined;

  /** @param pace read while the guest runs: a getter may slow it down */
  constructor(workload: GuestWorkload, pace: { readonly stepsPerSecond: number }) {
    this.#workload = workload;
    this.#pace = pace;
  }

  resume(): void {
    if (this.#run !== undefined) return;
    const { signal } = (this.#stop = new AbortController());
    const pace = this.#pace;
    this.#run = this.#workload.run({
      get stepsPerSecond() {
        return pace.stepsPerSecond;
      },
      signal,
    });
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
