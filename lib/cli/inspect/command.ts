import { type Command, Option } from 'commander';
import { MAX_CONTEXT } from '../../inspect/linux-address.js';
import type { CommandContext } from '../command-context.js';
import { JSON_DOCUMENT } from '../options/report.js';
import { TABLE_FILE, addTableOptions } from '../options/table.js';
import { REGIONS } from '../../inspect/linux-regions.js';
import { hexAddress, integer } from '../options/values.js';
import { GROUPINGS } from '../report/grouping.js';
import { VIEWS, type InspectCommandOptions } from './inspect-options.js';

const MAX_PTEX = 2 ** 32 - 1;

const EXAMPLES = `
Without an option it prints one screen: size, whether it needs to grow, mix, regions and processes of a Linux guest (those that
hold most of the table first), and a map of the table. A table knows a process by its MMU context, not by its PID: in the guest,
drgn and crash show the number as mm.context.id of the task.
Reading a guest takes its marks of change away: do not inspect one that is being migrated.

Examples:
  $ kvm-htab inspect guest.snap
  $ kvm-htab inspect --attach 4242                  # the guest of a running QEMU
  $ kvm-htab inspect guest.snap --by context       # which process holds most of the table
  $ kvm-htab inspect guest.snap --at c000000000000000
  $ kvm-htab inspect guest.snap --at 10000000 --context 10
  $ kvm-htab inspect guest.snap --list --region vmalloc
  $ kvm-htab inspect --htab-socket /run/vmm/control --json`;

export function defineInspect(program: Command, context: CommandContext): void {
  const command = program
    .command('inspect')
    .description('Shows what a table holds, whose it is, and whether it has room.')
    .argument('[file]', `${TABLE_FILE}; - is standard input. Without it, options give a guest`);
  addTableOptions(command, 'source');
  for (const option of [
    new Option('--by <what>', 'count by groups, contexts, segments, page sizes or regions').choices(
      GROUPINGS,
    ),
    new Option('--at <address>', 'entries that map this address (hexadecimal)').argParser(hexAddress),
    new Option('--guest-address <address>', 'entries that map this guest physical address').argParser(
      hexAddress,
    ),
    new Option('--ptex <n>', 'one entry by its index').argParser(integer(0, MAX_PTEX)),
    new Option('--list', 'every valid entry'),
  ]) {
    const name = option.attributeName();
    command.addOption(option.conflicts(VIEWS.filter((view) => view !== name)));
  }
  command
    .option('--context <n>', 'with --at and --list: of this context only', integer(0, MAX_CONTEXT))
    .addOption(new Option('--region <name>', 'with --list: of this region only').choices(REGIONS))
    .option('--bolted', 'with --list: bolted entries only')
    .option('--json', `${JSON_DOCUMENT}; with --list a line an entry`)
    .addHelpText('after', EXAMPLES)
    .action(async (file: string | undefined, options: InspectCommandOptions) => {
      const { inspect } = await import('./run.js');
      await context.run(
        (signal) => inspect(file, options, context.output, signal),
        options.json === true ? context.output.stdout : undefined,
      );
    });
}
