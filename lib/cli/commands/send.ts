import { Option, type Command } from 'commander';
import { MAX_MS } from '../../node/waiting.js';
import type { SendCommandOptions } from '../migrate/send.js';
import type { Address } from '../transport/address.js';
import type { CommandContext } from './context.js';
import { addEndpointOptions } from './endpoint-options.js';
import { addGuestOptions } from './guest-options.js';
import { addMigrationOptions } from './options.js';
import { address, byteRate, integer, migrationId } from './values.js';

const HELP = `
The guest stays here unless this ends with 0; it is resumed if the migration fails, or is interrupted, before the commit.
With exit code 4 it is stopped, and only the destination knows whether it runs there: see kvm-htab resolve. A process that
was killed says nothing, and may have left it stopped: its journal tells whether it had committed.

--on-pause must end only when no vcpu runs any more; status 0 says that it is so. --on-throttle gets the step in
KVM_HTAB_THROTTLE: from 1 on slower each time, 0 for full speed again.

A VMM at --htab-socket is sent lines, and answers each in turn with "ok", or with anything else if it cannot:
  open-read    answers "ok ORDER" with a new HTAB read descriptor (SCM_RIGHTS); ORDER is log2 of the table's bytes
  pause        answers once no vcpu runs any more
  resume
  throttle N   0 is full speed

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
  addGuestOptions(addEndpointOptions(command, 'source'))
    .option('--on-throttle <command>', 'shell command that slows it down')
    .option('--downtime-ms <ms>', 'longest time the guest shall stand still', integer(0, MAX_MS), 300)
    .option('--max-passes <n>', 'passes made at most while it runs', integer(0, 2 ** 31 - 1), 16)
    .addOption(
      new Option('--if-not-converging <what>', 'what to do if it would stand still for longer then')
        .choices(['stop', 'throttle', 'give-up'])
        .default('stop'),
    )
    .option(
      '--recheck-source',
      'read the stopped table again, to find what another reader took: a full scan more',
    )
    .option('--bandwidth <rate>', 'bytes per second while the guest runs, such as 2.5M', byteRate)
    .option(
      '--migration-id <id>',
      'name of the migration, never the same twice; default a random UUID',
      migrationId,
    );
  addMigrationOptions(command)
    .addHelpText('after', HELP)
    .action(async (to: Address, options: SendCommandOptions) => {
      const { send } = await import('../migrate/send.js');
      await context.run((signal) => send(to, options, context.output, signal));
    });
}
