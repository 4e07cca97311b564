import type { Command } from 'commander';
import type { CommandContext } from '../command-context.js';
import { addPassOptions } from '../options/passes.js';
import { addTableOptions } from '../options/table.js';
import type { WatchCommandOptions } from './run.js';

const EXAMPLES = `
Reads the table again and again, and prints for each pass which entries came, went and changed, by whom, and a map of where:
64 parts of the table from its first entry to its last, each with a digit that doubles (1 is one entry, 9 is 256 or more). At the
end, which is Ctrl-C unless --passes is given, it sums up what each part of a Linux guest's kernel and each process changed.

A read takes marks of change away from every other reader. An emulated VM refuses a second reader. A descriptor does not show
whether another process reads the same table: do not watch a guest that is being migrated, or its migration loses changes.

Examples:
  $ kvm-htab watch --htab-socket /run/vmm/control
  $ kvm-htab watch --pid 4242 --pid-fd 17 --order 24 --passes 60 --interval-ms 500
  $ kvm-htab watch --emulated=rate=2000 --passes 5 --json`;

export function defineWatch(program: Command, context: CommandContext): void {
  const command = program
    .command('watch')
    .description("Shows how a live guest's table changes: what comes, goes and changes, and where.");
  addPassOptions(addTableOptions(command, 'source'), 'passes to make; without it, until Ctrl-C')
    .option(
      '--json',
      'print a "pass" event for each pass and a "done" event at the end, one JSON object per line',
    )
    .addHelpText('after', EXAMPLES)
    .action(async (options: WatchCommandOptions) => {
      const { watch } = await import('./run.js');
      await context.run(
        (signal) => watch(options, context.output, signal),
        options.json === true ? context.output.stdout : undefined,
      );
    });
}
