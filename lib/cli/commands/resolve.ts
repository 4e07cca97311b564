import { Option, type Command } from 'commander';
import type { ResolveCommandOptions } from '../migrate/resolve.js';
import type { CommandContext } from './context.js';
import { addPeerOptions } from './options.js';
import { address, migrationId } from './values.js';

const HELP = `
At a source whose \`send\` ended with 4, or died: --ask the destination, whose \`receive\` must run, with the journal it had.
"committed": the guest is the destination's and must not run here again. "aborted": it is here; resume it, unless another
migration has moved it since.

Without a journal, name the migration, as the \`send\` that ended with 4 has done, and --ask.

Without --ask and --decide it only tells what the journal says, which is also what to do at a destination
(--side destination). "pending" there: it was prepared, and was not told to commit before it ended.

Without a migration-id it tells of all that the journal knows, the newest last, and asks for those that are undecided. A
\`send\` that was killed and is not among them had not committed; its "migration" line says its name.

--decide is for a peer that is gone for good: after it, this side holds to that, and so must whoever runs the guest.
What has been decided stays as it is. Decide "aborted" only when the guest cannot be running at the destination, nor ever
will: fence that host first. A destination can only be decided to be "aborted".

Ends with 4 as long as anything asked for is undecided.

Examples:
  $ kvm-htab resolve --journal /var/lib/kvm-htab/journal
  $ kvm-htab resolve --journal /var/lib/kvm-htab/journal --ask tls://b.example:7000 \\
      --cert host.pem --key host.key --ca fleet.pem
  $ kvm-htab resolve 6f1c6a52-3f5c-4a57-9a53-0f3d1f6d7a10 --ask unix:/run/move.sock
  $ kvm-htab resolve 6f1c6a52-3f5c-4a57-9a53-0f3d1f6d7a10 --journal /var/lib/kvm-htab/journal --decide aborted`;

export function defineResolve(program: Command, context: CommandContext): void {
  const command = program
    .command('resolve')
    .description('Finds out where the guest of a migration is that ended in doubt.')
    .argument('[migration-id]', 'default: all that the journal knows of', migrationId)
    .option('--journal <file>', 'what the migration was run with; what is learnt is written down there')
    .addOption(new Option('--ask <address>', 'ask the destination there').argParser(address))
    .addOption(
      new Option('--decide <outcome>', 'say it yourself').choices(['committed', 'aborted']).conflicts('ask'),
    )
    .addOption(
      new Option('--side <side>', 'which side this host was')
        .choices(['source', 'destination'])
        .default('source'),
    )
    .option('--json', 'print one JSON object a line');
  addPeerOptions(command)
    .addHelpText('after', HELP)
    .action(async (id: string | undefined, options: ResolveCommandOptions) => {
      const { resolve } = await import('../migrate/resolve.js');
      await context.run((signal) => resolve(id, options, context.output, signal));
    });
}
