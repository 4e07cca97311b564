import { Option, type Command } from 'commander';
import type { ResolveCommandOptions } from './run.js';
import type { CommandContext } from '../command-context.js';
import { addPeerOptions } from '../options/migration.js';
import { address, migrationId } from '../options/values.js';

const HELP = `
At a source whose \`send\` ended with 4, or died: --ask the destination, whose \`receive\` must run with the journal it had.
"committed": the guest runs at the destination and must not run here again. "aborted": it stayed here; resume it, unless
another migration has moved it since.

Without a journal, give the migration-id (the \`send\` that ended with 4 printed it) and --ask.

Without --ask and --decide it only prints what the journal says. Use that at a destination too (--side destination).
"pending" there: it was prepared, and ended before it was told to commit.

Without a migration-id it prints every migration in the journal, the newest last, and asks for the undecided ones. A
\`send\` that was killed and is not among them had not committed; its "migration" line has its id.

--decide is for a peer that is gone for good: this side keeps the decision, and the guest's operator must follow it. What
has been decided stays as it is, and --decide with another outcome fails with 1. Decide "aborted" only if the guest cannot run at the destination, now or later: fence that
host first. A destination can only be decided to be "aborted".

Exits with 1 if the journal does not have the migration that was named (state "none"): if the id and the journal are the
right ones, it had not committed, and its guest is at the source.

Exits with 4 as long as a migration asked for is undecided. If lines of the journal are damaged or cut, it names them,
prints what the other lines prove, and exits with 4 unless they prove the one migration that was named. A damaged journal
takes no new migration: resolve what it leaves open, and move it away. Lines missing whole from the end do not show.

Examples:
  $ kvm-htab resolve --journal /var/lib/kvm-htab/journal
  $ kvm-htab resolve --journal /var/lib/kvm-htab/journal --ask tls://b.example:7000 \\
      --cert host.pem --key host.key --ca fleet.pem
  $ kvm-htab resolve 6f1c6a52-3f5c-4a57-9a53-0f3d1f6d7a10 --ask unix:/run/move.sock
  $ kvm-htab resolve 6f1c6a52-3f5c-4a57-9a53-0f3d1f6d7a10 --journal /var/lib/kvm-htab/journal --decide aborted`;

export function defineResolve(program: Command, context: CommandContext): void {
  const command = program
    .command('resolve')
    .description('Finds out where the guest is after a migration that ended in doubt.')
    .argument('[migration-id]', 'default: every migration in the journal', migrationId)
    .option('--journal <file>', 'journal of the migration; the outcome is written to it')
    .addOption(new Option('--ask <address>', 'ask the destination at this address').argParser(address))
    .addOption(
      new Option('--decide <outcome>', 'decide it yourself')
        .choices(['committed', 'aborted'])
        .conflicts('ask'),
    )
    .addOption(
      new Option('--side <side>', 'which side this host was')
        .choices(['source', 'destination'])
        .default('source'),
    )
    .option('--json', 'print one JSON object per line; a "failed" event if it fails');
  addPeerOptions(command)
    .addHelpText('after', HELP)
    .action(async (id: string | undefined, options: ResolveCommandOptions) => {
      const { resolve } = await import('./run.js');
      await context.run(
        (signal) => resolve(id, options, context.output, signal),
        options.json === true ? context.output.stdout : undefined,
      );
    });
}
