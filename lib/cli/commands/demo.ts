import type { Command } from 'commander';
import type { DemoOptions } from '../demo/demo.js';
import type { CommandContext } from './context.js';
import { integer } from './values.js';

export function defineDemo(program: Command, context: CommandContext): void {
  program
    .command('demo')
    .description(
      'Moves the page table of a real Linux guest, changing all the time, to another (emulated) machine.',
    )
    .option(
      '--seed <number>',
      'what the guest does, 0..4294967295: the same steps in the same order; how many fit depends on the machine',
      integer(0, 2 ** 32 - 1),
      1,
    )
    .option(
      '--order <number>',
      "log2 of the table's bytes, 19..36; 23 is the guest's own, and its 17,812 entries do not fit one of 18 (16,384)",
      integer(19, 36),
      23,
    )
    .option('--rate <number>', 'steps the guest takes per second, 0..1000000', integer(0, 1_000_000), 8000)
    .option('--json', 'print the result as one JSON document')
    .addHelpText(
      'after',
      '\nExamples:\n  $ kvm-htab demo\n  $ kvm-htab demo --rate 50000 --order 26\n  $ kvm-htab demo --json > result.json',
    )
    .action(async (options: DemoOptions) => {
      const { demo } = await import('../demo/demo.js');
      await context.run((signal) => demo(options, context.output, signal));
    });
}
