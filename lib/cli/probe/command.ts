import type { Command } from 'commander';
import type { ProbeCommandOptions } from './run.js';
import type { CommandContext } from '../command-context.js';
import { JSON_DOCUMENT, addReportOptions } from '../options/report.js';

const EXAMPLES = `
Exits with 0 if guests' tables can be reached on this machine, with 3 and the reason if not.

Examples:
  $ kvm-htab probe
  $ kvm-htab probe --json
  $ kvm-htab probe --quiet && systemctl start vmm`;

export function defineProbe(program: Command, context: CommandContext): void {
  const command = program
    .command('probe')
    .description("Reports whether this machine's KVM has hashed page tables, and what it can do.")
    .option('--device <path>', 'the KVM device', '/dev/kvm');
  addReportOptions(command, JSON_DOCUMENT, 'print nothing')
    .addHelpText('after', EXAMPLES)
    .action(async (options: ProbeCommandOptions) => {
      const { probeMachine } = await import('./run.js');
      await context.run(
        () => probeMachine(options, context.output),
        options.json === true ? context.output.stdout : undefined,
      );
    });
}
