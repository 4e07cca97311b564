import type { Command } from 'commander';
import type { CommandContext } from '../command-context.js';
import { JSON_DOCUMENT, addReportOptions } from '../options/report.js';
import { TABLE_FILE, orderOption } from '../options/table.js';
import type { CheckCommandOptions } from './run.js';

const EXAMPLES = `
The file is a migration stream of QEMU (also mapped-ram), a save file of libvirt, a snapshot, KVM's debugfs text or a table's
memory: its content tells. Exits with 0 if nothing is odd about it, with 1 if something is, or if it cannot be read on.

Examples:
  $ kvm-htab check guest.mig
  $ kvm-htab check --json /var/lib/libvirt/qemu/save/guest.save
  $ zstd -dc guest.mig.zst | kvm-htab check -`;

export function defineCheck(program: Command, context: CommandContext): void {
  const command = program
    .command('check')
    .description("Checks the page table in QEMU's and libvirt's files, and in snapshots.")
    .argument('<file>', `${TABLE_FILE}; - is standard input`);
  command.addOption(orderOption("log2 of the table's bytes, where a debugfs text leaves it open"));
  addReportOptions(command, JSON_DOCUMENT, 'print errors only; the exit code tells')
    .addHelpText('after', EXAMPLES)
    .action(async (file: string, options: CheckCommandOptions) => {
      const { check } = await import('./run.js');
      await context.run(
        (signal) => check(file, options, context.output, signal),
        options.json === true ? context.output.stdout : undefined,
      );
    });
}
