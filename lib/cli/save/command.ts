import type { Command } from 'commander';
import { SAVE_OPTIONS } from '../../snapshot/save-options.js';
import type { SaveCommandOptions } from './run.js';
import { resultOutput } from '../table/standard-stream.js';
import type { CommandContext } from '../command-context.js';
import { unstoppable } from '../interrupt.js';
import { addTableOptions } from '../options/table.js';
import { addGuestOptions } from '../options/guest.js';
import { LibraryOption } from '../options/library-option.js';
import { JSON_DOCUMENT, addReportOptions } from '../options/report.js';

const EXAMPLES = `
The file appears under its name only when it is complete and on the disk. A running guest is paused for the last changes:
over the VMM's socket, by --on-pause and --on-resume, or by the QEMU at --qmp.

A guest without KVM-HV has no descriptor. With --qmp alone its QEMU migrates the guest to this command, which keeps the table
and throws the rest away: the guest stands still for the end of it, and runs on.

Examples:
  $ kvm-htab save --htab-socket /run/vmm/control guest.snap
  $ kvm-htab save --pid 4242 --pid-fd 17 --order 24 --on-pause 'vmm pause' --on-resume 'vmm resume' guest.snap
  $ kvm-htab save --emulated=order=22,rate=5000 --json guest.snap
  $ kvm-htab save --qmp /run/qemu/guest.qmp guest.snap
  $ kvm-htab save --htab-socket /run/vmm/control - | zstd > guest.snap.zst`;

export function defineSave(program: Command, context: CommandContext): void {
  const command = program
    .command('save')
    .description("Saves a guest's table to a file, while the guest runs.")
    .argument(
      '<file>',
      'the snapshot; an existing file is replaced. - is standard output, and the result goes to stderr',
    );
  addGuestOptions(addTableOptions(command, 'source'))
    .addOption(new LibraryOption('--max-passes <n>', SAVE_OPTIONS.maxPasses))
    .addOption(new LibraryOption('--max-changed <n>', SAVE_OPTIONS.maxChangedEntries))
    .addOption(new LibraryOption('--allow-changing', SAVE_OPTIONS.allowChanging));
  addReportOptions(command, JSON_DOCUMENT)
    .addHelpText('after', EXAMPLES)
    .action(async (file: string, options: SaveCommandOptions) => {
      const { save } = await import('./run.js');
      const { output } = context;
      await context.run(
        (signal) => unstoppable(() => save(file, options, output, signal)),
        options.json === true ? resultOutput(file, output) : undefined,
      );
    });
}
