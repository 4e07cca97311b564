import type { Command } from 'commander';
import type { CommandContext } from '../command-context.js';
import { JSON_DOCUMENT } from '../options/report.js';
import { TABLE_FILE, orderOption } from '../options/table.js';
import type { DiffCommandOptions } from './run.js';

const EXAMPLES = `
Exits with 0 if the tables are the same, with 1 if they differ. The kernel's own bits of v do not count.

Examples:
  $ kvm-htab diff before.snap after.snap
  $ kvm-htab diff before.snap after.snap --list | grep gone
  $ kvm-htab diff before.mig /sys/kernel/debug/kvm/vm1234/htab
  $ kvm-htab diff before.snap after.snap --json`;

export function defineDiff(program: Command, context: CommandContext): void {
  program
    .command('diff')
    .description('Compares two tables: which entries are gone, have come or have changed, and what in them.')
    .argument('<a>', `${TABLE_FILE}; - is standard input`)
    .argument('<b>', 'another, of the same order')
    .addOption(orderOption("log2 of the tables' bytes, where a debugfs text leaves it open"))
    .option('--list', 'list every entry that differs, not the first 16 alone')
    .option('--json', JSON_DOCUMENT)
    .addHelpText('after', EXAMPLES)
    .action(async (a: string, b: string, options: DiffCommandOptions) => {
      const { diff } = await import('./run.js');
      await context.run(
        (signal) => diff([a, b], options, context.output, signal),
        options.json === true ? context.output.stdout : undefined,
      );
    });
}
