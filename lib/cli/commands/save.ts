import { type Command, Option } from 'commander';
import type { SaveCommandOptions } from '../table/save.js';
import type { CommandContext } from './context.js';
import { addEndpointOptions } from './endpoint-options.js';
import { addGuestOptions } from './guest-options.js';
import { integer } from './values.js';

const EXAMPLES = `
The file appears under its name only when it is complete and on the disk. A guest that runs is paused for what its last
passes have not caught: over the VMM's socket, or by --on-pause and --on-resume.

Examples:
  $ kvm-htab save --htab-socket /run/vmm/control guest.snap
  $ kvm-htab save --pid 4242 --pid-fd 17 --order 24 --on-pause 'vmm pause' --on-resume 'vmm resume' guest.snap
  $ kvm-htab save --emulated=order=22,rate=5000 --json guest.snap`;

export function defineSave(program: Command, context: CommandContext): void {
  const command = program
    .command('save')
    .description("Saves a guest's table to a file, while the guest runs.")
    .argument('<file>', 'the snapshot; a file of this name is replaced');
  addGuestOptions(addEndpointOptions(command, 'source'))
    .option('--max-passes <n>', 'passes before the guest is paused', integer(1, 2 ** 31 - 1), 16)
    .option(
      '--max-changed <n>',
      'entries changed in a pass that let it be the last',
      integer(0, 2 ** 32),
      256,
    )
    .option('--allow-changing', 'keep the file even if the table still changes: to look at, not to load')
    .addOption(
      new Option('--json', 'print the result as one JSON document, or a "failed" event').conflicts('quiet'),
    )
    .option('--quiet', 'print errors only')
    .addHelpText('after', EXAMPLES)
    .action(async (file: string, options: SaveCommandOptions) => {
      const { save } = await import('../table/save.js');
      await context.run((signal) => save(file, options, context.output, signal), options.json);
    });
}
