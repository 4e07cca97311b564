import type { Command } from 'commander';
import { MAX_STREAM_ORDER, MIN_ORDER } from '../../hpt/geometry.js';
import type { CommandContext } from '../command-context.js';
import { JSON_DOCUMENT } from '../options/report.js';
import { TABLE_FILE, addTableOptions } from '../options/table.js';
import { integer } from '../options/values.js';
import type { FitCommandOptions } from './run.js';

const EXAMPLES = `
A resize moves bolted entries and drops the others, which the guest enters anew. Where two bolted entries would meet, the
kernel refuses to shrink the table, and crashes if it grows. Exits with 0 if all have a place, with 1 if not.

Examples:
  $ kvm-htab fit guest.snap --to 22
  $ kvm-htab fit --htab-socket /run/vmm/control --to 25 --json`;

export function defineFit(program: Command, context: CommandContext): void {
  const command = program
    .command('fit')
    .description('Predicts how a resize of a table to another order would end.')
    .argument('[file]', `${TABLE_FILE}; - is standard input. Without it, options give a guest`);
  addTableOptions(command, 'source')
    .requiredOption('--to <order>', "log2 of the new table's bytes", integer(MIN_ORDER, MAX_STREAM_ORDER))
    .option('--json', JSON_DOCUMENT)
    .addHelpText('after', EXAMPLES)
    .action(async (file: string | undefined, options: FitCommandOptions) => {
      const { fit } = await import('./run.js');
      await context.run(
        (signal) => fit(file, options, context.output, signal),
        options.json === true ? context.output.stdout : undefined,
      );
    });
}
