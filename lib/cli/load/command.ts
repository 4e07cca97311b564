import type { Command } from 'commander';
import { LOAD_OPTIONS } from '../../snapshot/load-options.js';
import { MAX_MS } from '../../base/time.js';
import type { LoadCommandOptions } from './run.js';
import type { CommandContext } from '../command-context.js';
import { LibraryOption } from '../options/library-option.js';
import { JSON_DOCUMENT, addReportOptions } from '../options/report.js';
import { TABLE_FILE, addTableOptions } from '../options/table.js';
import { integerOption } from '../options/library-option.js';

const EXAMPLES = `
The file is a snapshot, a migration stream of QEMU, a save file of libvirt, KVM's debugfs text or a table's memory. The last two
do not tell whether the guest stood still: they need --allow-changing. The whole file is verified before the guest's table is
touched. No vcpu of the guest may run. If loading fails after that, the table is emptied again.

Examples:
  $ kvm-htab load --htab-socket /run/vmm/control --read-back guest.snap
  $ kvm-htab load --htab-fd 3 --order 24 guest.snap
  $ zstd -dc guest.snap.zst | kvm-htab load --htab-socket /run/vmm/control -
  $ kvm-htab load --emulated guest.snap   # verifies the file, and that a POWER9 host would take it`;

export function defineLoad(program: Command, context: CommandContext): void {
  const command = program
    .command('load')
    .description("Loads the table in a file into a guest's table.")
    .argument('<file>', `${TABLE_FILE}; - is standard input`);
  addTableOptions(command, "file's target")
    .addOption(new LibraryOption('--read-back', LOAD_OPTIONS.readBack))
    .addOption(new LibraryOption('--allow-changing', LOAD_OPTIONS.allowChanging))
    .addOption(
      integerOption('--timeout-ms <ms>', 'longest time for one answer of the VMM', {
        min: 100,
        max: MAX_MS,
        default: 30_000,
      }),
    );
  addReportOptions(command, JSON_DOCUMENT)
    .addHelpText('after', EXAMPLES)
    .action(async (file: string, options: LoadCommandOptions) => {
      const { load } = await import('./run.js');
      await context.run(
        (signal) => load(file, options, context.output, signal),
        options.json === true ? context.output.stdout : undefined,
      );
    });
}
