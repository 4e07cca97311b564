import type { Command } from 'commander';
import type { CommandContext } from '../command-context.js';
import { JSON_DOCUMENT, addReportOptions } from '../options/report.js';
import { TABLE_FILE } from '../options/table.js';
import { resultOutput } from '../table/standard-stream.js';
import type { RewriteCommandOptions } from './run.js';

const EXAMPLES = `
All but the page table stays as it is. The table must have the order of the one that it replaces. A save file of libvirt that was
compressed is not compressed afterwards. A guest will run on the table: one that mixes moments is refused, and so are debugfs text and
a table's memory, which do not tell whether the guest stood still.

Examples:
  $ kvm-htab rewrite guest.mig --table guest.hpt -o new.mig
  $ kvm-htab rewrite guest.save --table guest.hpt -o new.save && virsh restore new.save`;

export function defineRewrite(program: Command, context: CommandContext): void {
  const command = program
    .command('rewrite')
    .description("Writes QEMU's or libvirt's file again with another page table.")
    .argument('<file>', 'the file; - is standard input')
    .requiredOption('--table <file>', `the file that holds the table: ${TABLE_FILE}`)
    .requiredOption(
      '-o, --output <file>',
      'the new file; an existing one is replaced. - is standard output, and the result goes to stderr',
    )
    .option('--allow-changing', 'take a table that changed while it was saved, or a file that does not tell')
    .option('--allow-empty', 'take a table without valid entries for one that has some');
  addReportOptions(command, JSON_DOCUMENT)
    .addHelpText('after', EXAMPLES)
    .action(async (file: string, options: RewriteCommandOptions) => {
      const { rewrite } = await import('./run.js');
      const { output } = context;
      await context.run(
        (signal) => rewrite(file, options, output, signal),
        options.json === true ? resultOutput(options.output, output) : undefined,
      );
    });
}
