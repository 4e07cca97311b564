import type { Command } from 'commander';
import type { CommandContext } from '../command-context.js';
import { addPassOptions } from '../options/passes.js';
import { JSON_DOCUMENT } from '../options/report.js';
import { TABLE_FILE, addTableOptions } from '../options/table.js';
import { resultOutput } from '../table/standard-stream.js';
import type { ReportCommandOptions } from './run.js';

const EXAMPLES = `
The report is one HTML file that loads nothing: size and pressure, whether the table needs to grow, which part of a Linux guest's
kernel and which process has most of it, a map to zoom into, and what other sizes would mean. With --passes it also shows how a
live guest's table changes. It names addresses and the file it was made from.

Reading a guest takes its marks of change away: do not report on one that is being migrated.

Examples:
  $ kvm-htab report guest.hpt -o report.html
  $ kvm-htab report --htab-socket /run/vmm/control --passes 30 -o report.html
  $ kvm-htab report --emulated=rate=2000 --passes 5 --interval-ms 200 -o report.html`;

export function defineReport(program: Command, context: CommandContext): void {
  const command = program
    .command('report')
    .description('Writes a report on a table to look at in a browser: whose it is, a map, sizes, change.')
    .argument('[file]', `${TABLE_FILE}; - is standard input. Without it, options give a guest`)
    .requiredOption('-o, --output <file>', 'the report; an existing file is replaced. - is standard output');
  addPassOptions(addTableOptions(command, 'source'), 'passes over a live guest', { default: 1 })
    .option('--json', JSON_DOCUMENT)
    .addHelpText('after', EXAMPLES)
    .action(async (file: string | undefined, options: ReportCommandOptions) => {
      const { report } = await import('./run.js');
      const { output } = context;
      await context.run(
        (signal) => report(file, options, output, signal),
        options.json === true ? resultOutput(options.output, output) : undefined,
      );
    });
}
