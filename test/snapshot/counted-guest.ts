import type { GuestCallbacks } from '../../lib/precopy/guest-options.js';

/** Counts how often a guest is paused and resumed. */
export function control(
  actions: Partial<GuestCallbacks> = {},
): GuestCallbacks & { readonly calls: string[] } {
  const calls: string[] = [];
  return {
    calls,
    pause: async () => {
      calls.push('pause');
      await actions.pause?.();
    },
    resume: async () => {
      calls.push('resume');
      await actions.resume?.();
    },
  };
}
