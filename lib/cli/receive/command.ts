import type { Command } from 'commander';
import { MAX_MS } from '../../base/time.js';
import { RECEIVE_OPTIONS } from '../../migration/destination/receive-options.js';
import type { ReceiveCommandOptions } from './run.js';
import type { Address } from '../../transport/address.js';
import type { CommandContext } from '../command-context.js';
import { unstoppable } from '../interrupt.js';
import { addTableOptions } from '../options/table.js';
import { LibraryOption, integerOption } from '../options/library-option.js';
import { addMigrationOptions } from '../options/migration.js';
import { address, migrationId, pageShifts } from '../options/values.js';

const HELP = `
The guest may run here only if this ends with 0, or has printed "done" with --json. With 5 it has moved here and could not be
run: look, and run it here by hand. With 4 it must not run anywhere until the disk and the journal have been checked. A process that was killed reports nothing: ask the journal (kvm-htab resolve
--side destination). In every other case the received table has been thrown away.

With a journal, a source that lost the connection at the commit can ask for the outcome later, even of another process:
start the command again with the same journal. It answers any source while it waits. It opens the table at a VMM only once
a source comes with one; each answer of the VMM may take --timeout-ms.

"systemd" listens at the socket of the service's .socket unit; with --cert, --key and --ca it speaks TLS there.

The VMM at --htab-socket gets lines, and answers each with "ok", or with anything else if it cannot:
  open-write      answer "ok ORDER" with an HTAB write descriptor (SCM_RIGHTS) of the VM that receives the guest
  open-read-next  answer "ok ORDER" with a read descriptor of the same VM
  can-accept      if the VMM takes memory and devices too: then it also knows the next three
  accept LENGTH   LENGTH bytes of state follow; answer once the guest is whole
  discard         throw away what has come; not a guest that runs
  run             answer once the guest runs
--on-accept (which reads the state), --on-discard and --on-run do the same; they come together.

Examples:
  $ kvm-htab receive tls://[::]:7000 --htab-socket /run/vmm/b.sock --peer-name a.example \\
      --cert host.pem --key host.key --ca fleet.pem --journal /var/lib/kvm-htab/journal
  $ kvm-htab receive unix:/run/move.sock --htab-fd 3 --order 24
  $ kvm-htab receive tcp://127.0.0.1:7000 --emulated --json`;

export function defineReceive(program: Command, context: CommandContext): void {
  const command = program
    .command('receive')
    .description("Receives one guest's table from a `kvm-htab send`.")
    .argument('<address>', 'tls://HOST:PORT, tcp://HOST:PORT, unix:PATH or systemd', address);
  addTableOptions(command, 'target')
    .addOption(new LibraryOption('--max-order <n>', RECEIVE_OPTIONS.maxOrder))
    .addOption(new LibraryOption('--expected-order <n>', RECEIVE_OPTIONS.expectedOrder))
    .addOption(new LibraryOption('--min-entries <n>', RECEIVE_OPTIONS.minEntries))
    .addOption(new LibraryOption('--min-bolted-entries <n>', RECEIVE_OPTIONS.minBoltedEntries))
    .addOption(new LibraryOption('--page-shifts <list>', RECEIVE_OPTIONS.pageShifts).argParser(pageShifts))
    .addOption(new LibraryOption('--migration-id <id>', RECEIVE_OPTIONS.migrationId).argParser(migrationId))
    .option(
      '--on-accept <command>',
      'shell command that puts the guest together; reads the state that --on-finish has printed',
    )
    .option('--on-discard <command>', 'shell command that throws away what has come of a guest')
    .option('--on-run <command>', 'shell command that lets the guest run')
    .addOption(new LibraryOption('--guest-timeout-ms <ms>', RECEIVE_OPTIONS.guestTimeoutMs))
    .addOption(
      integerOption('--answer-ms <ms>', 'how long to answer the source once the guest is here', {
        ...{ min: 0, max: MAX_MS, default: 0 },
      }),
    );
  addMigrationOptions(command)
    .addHelpText('after', HELP)
    .action(async (at: Address, options: ReceiveCommandOptions) => {
      const { receive } = await import('./run.js');
      await context.run((signal) => unstoppable(() => receive(at, options, context.output, signal)));
    });
}
