import type { Command } from 'commander';
import { SEND_OPTIONS } from '../../migration/source/send-options.js';
import type { SendCommandOptions } from './run.js';
import type { Address } from '../../transport/address.js';
import type { CommandContext } from '../command-context.js';
import { unstoppable } from '../interrupt.js';
import { addTableOptions } from '../options/table.js';
import { addGuestOptions } from '../options/guest.js';
import { addMigrationOptions } from '../options/migration.js';
import { LibraryOption } from '../options/library-option.js';
import { address, byteRate, migrationId } from '../options/values.js';

const HELP = `
The guest stays here unless this ends with 0. If the migration fails or is interrupted before the commit, the guest is
resumed. With exit code 4 it is stopped, and only the destination knows whether it runs there: see kvm-htab resolve. A
process that was killed reports nothing, and may have left the guest stopped: its journal tells whether it had committed.

--on-pause must end only when no vcpu runs any more; status 0 confirms it. --on-throttle gets the step in
KVM_HTAB_THROTTLE: from 1 on slower each time, 0 for full speed. --bandwidth takes units: 500k, 2.5M, 1G.

--on-finish, or a VMM that knows the last two requests, moves memory and devices too; then the destination must take them. The
command gets the id in KVM_HTAB_MIGRATION and the longest stop in KVM_HTAB_DEADLINE_MS, ends once all is there, prints up to
16 MiB of state, and is killed when the stop's time is over. --on-rest-ms prints a number, or "far" while memory is far from done.

The VMM at --htab-socket gets lines, and answers each in turn with "ok", or with anything else if it cannot:
  open-read    answer "ok ORDER" with a new HTAB read descriptor (SCM_RIGHTS); ORDER is log2 of the table's bytes
  open-read N  the same, from entry N on; if refused, the whole table is read again while the guest is stopped
  pause        answer once no vcpu runs any more
  resume
  throttle N   0 is full speed
  rest-ms      answer "ok MS", or "ok far": the part of the stop that memory and devices would take now
  finish       answer "ok LENGTH" and LENGTH bytes of state, once memory and devices are at the destination

Examples:
  $ kvm-htab send tls://b.example:7000 --htab-socket /run/vmm/a.sock \\
      --cert host.pem --key host.key --ca fleet.pem --journal /var/lib/kvm-htab/journal
  $ kvm-htab send unix:/run/move.sock --htab-fd 3 --order 24 --on-pause 'vmctl stop a' --on-resume 'vmctl cont a'
  $ kvm-htab send tcp://127.0.0.1:7000 --emulated=order=24,rate=5000 --json`;

export function defineSend(program: Command, context: CommandContext): void {
  const command = program
    .command('send')
    .description("Moves a running guest's table to a `kvm-htab receive`.")
    .argument('<address>', 'tls://HOST:PORT, tcp://HOST:PORT or unix:PATH', address);
  addGuestOptions(addTableOptions(command, 'source'))
    .option('--on-throttle <command>', 'shell command that slows the guest down')
    .option(
      '--on-finish <command>',
      'shell command that moves memory and devices of the stopped guest; prints the state, which goes with the table',
    )
    .option(
      '--on-rest-ms <command>',
      'shell command that prints how many ms of the stop --on-finish, and --on-accept at the destination, would take now, or "far"; default: 0',
    )
    .addOption(new LibraryOption('--scan-share <part>', SEND_OPTIONS.scanShare))
    .addOption(new LibraryOption('--downtime-ms <ms>', SEND_OPTIONS.downtimeMs))
    .addOption(new LibraryOption('--max-passes <n>', SEND_OPTIONS.maxPasses))
    .addOption(new LibraryOption('--if-not-converging <what>', SEND_OPTIONS.whenNotConverging))
    .addOption(new LibraryOption('--recheck-source', SEND_OPTIONS.recheckSource))
    .addOption(new LibraryOption('--bandwidth <rate>', SEND_OPTIONS.bytesPerSecond).argParser(byteRate))
    .addOption(new LibraryOption('--wait-ms <ms>', SEND_OPTIONS.waitMs))
    .addOption(new LibraryOption('--migration-id <id>', SEND_OPTIONS.migrationId).argParser(migrationId));
  addMigrationOptions(command)
    .addHelpText('after', HELP)
    .action(async (to: Address, options: SendCommandOptions) => {
      const { send } = await import('./run.js');
      await context.run((signal) => unstoppable(() => send(to, options, context.output, signal)));
    });
}
