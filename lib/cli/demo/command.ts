import type { Command } from 'commander';
import type { DemoOptions } from './demo-options.js';
import type { CommandContext } from '../command-context.js';
import { JSON_DOCUMENT } from '../options/report.js';
import { integerOption } from '../options/library-option.js';

export function defineDemo(program: Command, context: CommandContext): void {
  program
    .command('demo')
    .description(
      'Moves the page table of a real Linux guest, while it changes, to another (emulated) machine.',
    )
    .addOption(
      integerOption('--seed <number>', 'seed of what the guest does: the same steps in the same order', {
        ...{ min: 0, max: 2 ** 32 - 1, default: 1 },
      }),
    )
    .addOption(
      integerOption('--order <number>', "log2 of the table's bytes; the guest was recorded with 23", {
        ...{ min: 19, max: 36, default: 23 },
      }),
    )
    .addOption(
      integerOption('--rate <number>', 'steps the guest takes per second', {
        ...{ min: 0, max: 1_000_000, default: 8000 },
      }),
    )
    .option(
      '--whole-guest',
      'move its memory and registers too, and compare it with a guest that was not moved',
    )
    .option('--save <file>', 'save the moved table as a snapshot, to look further at')
    .option('--json', JSON_DOCUMENT)
    .addHelpText(
      'after',
      '\nExamples:\n  $ kvm-htab demo\n  $ kvm-htab demo --rate 50000 --order 26\n  $ kvm-htab demo --whole-guest\n  $ kvm-htab demo --save moved.hpt\n  $ kvm-htab demo --json > result.json',
    )
    .action(async (options: DemoOptions) => {
      const { output } = context;
      const failures = options.json === true ? output.stdout : undefined;
      if (options.wholeGuest === true) {
        const { demoWholeGuest } = await import('./whole-guest.js');
        await context.run((signal) => demoWholeGuest(options, output, signal), failures);
      } else {
        const { demo } = await import('./run.js');
        await context.run((signal) => demo(options, output, signal), failures);
      }
    });
}
