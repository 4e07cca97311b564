import type { Command } from 'commander';
import type { CommandContext } from '../command-context.js';
import { JSON_DOCUMENT, addReportOptions } from '../options/report.js';
import { resultOutput } from '../table/standard-stream.js';
import type { ExtractCommandOptions } from './run.js';

const EXAMPLES = `
The file is a migration stream of QEMU (also mapped-ram), or a save file of libvirt. The snapshot appears under its name only when it
is complete, and only if the table is whole.

Examples:
  $ kvm-htab extract guest.mig -o guest.hpt
  $ kvm-htab extract /var/lib/libvirt/qemu/save/guest.save -o guest.hpt
  $ zstd -dc guest.mig.zst | kvm-htab extract - -o guest.hpt`;

export function defineExtract(program: Command, context: CommandContext): void {
  const command = program
    .command('extract')
    .description("Takes the page table out of QEMU's and libvirt's files, as a snapshot.")
    .argument('<file>', 'the file; - is standard input')
    .requiredOption(
      '-o, --output <file>',
      'the snapshot; an existing file is replaced. - is standard output, and the result goes to stderr',
    );
  addReportOptions(command, JSON_DOCUMENT)
    .addHelpText('after', EXAMPLES)
    .action(async (file: string, options: ExtractCommandOptions) => {
      const { extract } = await import('./run.js');
      const { output } = context;
      await context.run(
        (signal) => extract(file, options, output, signal),
        options.json === true ? resultOutput(options.output, output) : undefined,
      );
    });
}
