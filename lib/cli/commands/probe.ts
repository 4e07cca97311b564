import { type Command, Option } from 'commander';
import type { ProbeCommandOptions } from '../table/probe.js';
import type { CommandContext } from './context.js';

const EXAMPLES = `
Ends with 0 if guests' tables can be reached on this machine, with 3 and the reason if not.

Examples:
  $ kvm-htab probe
  $ kvm-htab probe --json
  $ kvm-htab probe --quiet && systemctl start vmm`;

export function defineProbe(program: Command, context: CommandContext): void {
  program
    .command('probe')
    .description("Says whether this machine's KVM has hashed page tables, and what it can do.")
    .option('--device <path>', 'the KVM device', '/dev/kvm')
    .addOption(new Option('--json', 'print the findings as one JSON document').conflicts('quiet'))
    .option('--quiet', 'print nothing')
    .addHelpText('after', EXAMPLES)
    .action(async (options: ProbeCommandOptions) => {
      const { probeMachine } = await import('../table/probe.js');
      await context.run(() => probeMachine(options, context.output));
    });
}
