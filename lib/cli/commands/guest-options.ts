import type { Command } from 'commander';
import { GUEST_TIMEOUT_MS, STOP_LIMIT_MS } from '../../io/guest-control.js';
import { MAX_MS } from '../../node/waiting.js';
import { integer } from './values.js';

/** Gives a command the options of {@link ControlOptions}, but for `--on-throttle`. */
export function addGuestOptions(command: Command): Command {
  return command
    .option(
      '--on-pause <command>',
      'shell command that stops the guest; when its time is over it is killed, and a daemon that it has asked must not ' +
        'stop the guest later, after --on-resume',
    )
    .option('--on-resume <command>', 'shell command that lets it run again')
    .option(
      '--pause-timeout-ms <ms>',
      'longest time for one of these commands, or one answer of the VMM',
      integer(1, MAX_MS),
      GUEST_TIMEOUT_MS,
    )
    .option(
      '--stop-limit-ms <ms>',
      'longest time the guest is kept stopped; after it, it runs on here',
      integer(1, MAX_MS),
      STOP_LIMIT_MS,
    );
}
