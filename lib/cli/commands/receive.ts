import type { Command } from 'commander';
import { MAX_STREAM_ORDER, MIN_ORDER } from '../../hpt/geometry.js';
import { MAX_MS } from '../../node/waiting.js';
import type { ReceiveCommandOptions } from '../migrate/receive.js';
import type { Address } from '../transport/address.js';
import type { CommandContext } from './context.js';
import { addEndpointOptions } from './endpoint-options.js';
import { addMigrationOptions } from './options.js';
import { address, integer } from './values.js';

const HELP = `
The guest may run here only if this ends with 0, or has said "done" with --json. With 4 nobody may run it until its disk
and journal have been looked at; a process that was killed says nothing: ask the journal (kvm-htab resolve --side
destination). In every other case what has arrived has been thrown away. With a journal, a source that has lost the
connection at the commit can ask later, also another process: start the command again with the same journal. It answers
whoever asks, as long as it waits; a VMM is sent nothing before a source comes with a table, and has --timeout-ms for each
answer.

"systemd" listens at the socket of the service's .socket unit; with --cert, --key and --ca it speaks TLS there.

A VMM at --htab-socket is sent lines, and answers each with "ok", or with anything else if it cannot:
  open-write      answers "ok ORDER" with an HTAB write descriptor (SCM_RIGHTS) of the VM that the guest is to come to
  open-read-next  answers "ok ORDER" with a read descriptor of the same VM

Examples:
  $ kvm-htab receive tls://[::]:7000 --htab-socket /run/vmm/b.sock --peer-name a.example \\
      --cert host.pem --key host.key --ca fleet.pem --journal /var/lib/kvm-htab/journal
  $ kvm-htab receive unix:/run/move.sock --htab-fd 3 --order 24
  $ kvm-htab receive tcp://127.0.0.1:7000 --emulated --json`;

export function defineReceive(program: Command, context: CommandContext): void {
  const command = program
    .command('receive')
    .description("Takes one guest's table from a `kvm-htab send`.")
    .argument('<address>', 'tls://HOST:PORT, tcp://HOST:PORT, unix:PATH or systemd', address);
  addEndpointOptions(command, 'target')
    .option(
      '--max-order <n>',
      'log2 of the bytes of the largest table that is taken: the host sets so much memory aside',
      integer(MIN_ORDER, MAX_STREAM_ORDER),
    )
    .option('--min-entries <n>', 'fewest valid entries of a plausible table', integer(0, 2 ** 32), 1)
    .option(
      '--answer-ms <ms>',
      'time to go on answering the source once the guest is here',
      integer(0, MAX_MS),
      0,
    );
  addMigrationOptions(command)
    .addHelpText('after', HELP)
    .action(async (at: Address, options: ReceiveCommandOptions) => {
      const { receive } = await import('../migrate/receive.js');
      await context.run((signal) => receive(at, options, context.output, signal));
    });
}
