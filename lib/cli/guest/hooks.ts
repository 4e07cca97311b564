import type { GuestCallbacks } from '../../precopy/guest-options.js';
import { runHook } from './run-hook.js';

/** Shell commands. */
export interface HookCommands {
  readonly onPause: string;
  readonly onResume: string;
  /** Gets the step in the variable KVM_HTAB_THROTTLE. */
  readonly onThrottle?: string | undefined;
}

/**
 * Controls a guest by shell commands of the user. Each must end with status 0 once it is done. A killed command has ended
 * as well: what a daemon does for it later comes after the next command, and is not noticed.
 */
export class Hooks implements GuestCallbacks {
  readonly throttle: ((step: number) => Promise<void>) | undefined;
  readonly #commands: HookCommands;
  readonly #timeoutMs: number;

  /** @param timeoutMs longest time for one command, which is killed then */
  constructor(commands: HookCommands, timeoutMs: number) {
    this.#commands = commands;
    this.#timeoutMs = timeoutMs;
    const { onThrottle } = commands;
    if (onThrottle === undefined) return;
    this.throttle = (step) => this.#run('--on-throttle', onThrottle, { KVM_HTAB_THROTTLE: String(step) });
  }

  pause(): Promise<void> {
    return this.#run('--on-pause', this.#commands.onPause);
  }

  resume(): Promise<void> {
    return this.#run('--on-resume', this.#commands.onResume);
  }

  async #run(
    option: string,
    command: string,
    variables: Readonly<Record<string, string>> = {},
  ): Promise<void> {
    await runHook({ option, command, timeoutMs: this.#timeoutMs, variables });
  }
}
