import type { Command } from 'commander';
import { GUEST_LIMITS, GUEST_OPTIONS } from '../../precopy/guest-options.js';
import { LibraryOption } from './library-option.js';

/** Gives a command the options of {@link ControlOptions}, except `--on-throttle`. */
export function addGuestOptions(command: Command): Command {
  return command
    .option(
      '--on-pause <command>',
      'shell command that stops the guest; killed after --pause-timeout-ms. A daemon that it has called must not stop the ' +
        'guest later, after --on-resume',
    )
    .option('--on-resume <command>', 'shell command that lets the guest run again')
    .addOption(
      new LibraryOption('--already-paused', GUEST_OPTIONS.alreadyPaused).conflicts([
        'onPause',
        'onResume',
        'onThrottle',
      ]),
    )
    .addOption(new LibraryOption('--pause-timeout-ms <ms>', GUEST_LIMITS.guestTimeoutMs))
    .addOption(new LibraryOption('--stop-limit-ms <ms>', GUEST_LIMITS.stopLimitMs));
}
