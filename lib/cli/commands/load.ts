import { type Command, Option } from 'commander';
import { MAX_MS } from '../../node/waiting.js';
import type { LoadCommandOptions } from '../table/load.js';
import type { CommandContext } from './context.js';
import { addEndpointOptions } from './endpoint-options.js';
import { integer } from './values.js';

const EXAMPLES = `
All of the file is verified before the guest's table is touched, and no vcpu of it may run. Should loading fail after
that, the table is emptied again.

Examples:
  $ kvm-htab load --htab-socket /run/vmm/control --read-back guest.snap
  $ kvm-htab load --htab-fd 3 --order 24 guest.snap
  $ kvm-htab load --emulated guest.snap   # verifies the file, and that a POWER9 host would take it`;

export function defineLoad(program: Command, context: CommandContext): void {
  const command = program
    .command('load')
    .description("Makes a snapshot a guest's table.")
    .argument('<file>', 'the snapshot');
  addEndpointOptions(command, 'target')
    .option('--read-back', 'read the table back and compare it with the file')
    .option('--allow-changing', 'load a snapshot of a table that changed while it was saved')
    .option('--timeout-ms <ms>', 'longest time for one answer of the VMM', integer(100, MAX_MS), 30_000)
    .addOption(
      new Option('--json', 'print the result as one JSON document, or a "failed" event').conflicts('quiet'),
    )
    .option('--quiet', 'print errors only')
    .addHelpText('after', EXAMPLES)
    .action(async (file: string, options: LoadCommandOptions) => {
      const { load } = await import('../table/load.js');
      await context.run((signal) => load(file, options, context.output, signal), options.json);
    });
}
