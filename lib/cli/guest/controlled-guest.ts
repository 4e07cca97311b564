import type { GuestCallbacks } from '../../io/guest-control.js';

/**
 * Stops a guest and lets it go on, on behalf of the VMM that runs it. Every call is bounded in time, and rejects if the
 * VMM did not say that it was done.
 */
export interface ControlledGuest extends GuestCallbacks {
  /** Lets go of the VMM; the guest stays as it is. */
  close(): void;
}
