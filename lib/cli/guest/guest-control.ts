/**
 * Stops a guest and lets it go on, on behalf of the VMM that runs it. Every call is bounded in time, and rejects if the
 * VMM did not say that it was done.
 */
export interface GuestControl {
  /** Once it has resolved, no vcpu of the guest runs. */
  pause(): Promise<void>;
  resume(): Promise<void>;
  /**
   * Makes the guest slower, so that its table changes less; undefined where nobody can.
   *
   * @param step from 1 on, each slower than the one before; 0 is full speed again
   */
  readonly throttle: ((step: number) => Promise<void>) | undefined;
  /** Lets go of the VMM; the guest stays as it is. */
  close(): void;
}
