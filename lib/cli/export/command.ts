import { type Command, Option } from 'commander';
import type { CommandContext } from '../command-context.js';
import { JSON_DOCUMENT, addReportOptions } from '../options/report.js';
import { TABLE_FILE, addTableOptions } from '../options/table.js';
import { resultOutput } from '../table/standard-stream.js';
import { FORMATS, type ExportCommandOptions } from './export-options.js';

const EXAMPLES = `
A row is a valid entry: its index and both doublewords, or with --decoded all of its fields, and for a Linux guest its address and
process. DuckDB decodes the first with the macros of lib/inspect/kvm-htab.sql in the package. The file appears under its name
only when it is complete. CSV has doublewords in hexadecimal.

Examples:
  $ kvm-htab export guest.snap guest.parquet
  $ kvm-htab export guest.mig fleet/guest.parquet --decoded
  $ kvm-htab export --htab-socket /run/vmm/control guest.csv
  $ kvm-htab export guest.snap - --decoded > guest.csv`;

export function defineExport(program: Command, context: CommandContext): void {
  const command = program
    .command('export')
    .description('Writes the entries of a table as rows, for DuckDB, Spark or a spreadsheet.')
    .usage('[options] [file] <output>')
    .argument(
      '<files...>',
      `the file to read: ${TABLE_FILE}; - is standard input. Without it, options give a guest. Then the file to write: ` +
        'OUT.parquet or OUT.csv, replaced if it exists; - is standard output, as CSV, and the result goes to stderr',
    );
  addTableOptions(command, 'source')
    .option('--decoded', 'columns for all fields of an entry, not its doublewords')
    .addOption(
      new Option('--format <name>', "the format, where the file's name does not tell it").choices(FORMATS),
    );
  addReportOptions(command, JSON_DOCUMENT)
    .addHelpText('after', EXAMPLES)
    .action(async (files: string[], options: ExportCommandOptions) => {
      const { exportTable } = await import('./run.js');
      const { output } = context;
      await context.run(
        (signal) => exportTable(files, options, output, signal),
        options.json === true ? resultOutput(files.at(-1)!, output) : undefined,
      );
    });
}
