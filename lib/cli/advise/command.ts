import { type Command, Option } from 'commander';
import type { CommandContext } from '../command-context.js';
import { JSON_DOCUMENT } from '../options/report.js';
import { memoryBytes } from '../options/values.js';
import type { AdviseCommandOptions } from './run.js';

const EXAMPLES = `
Examples:
  $ kvm-htab advise --memory 64G
  $ kvm-htab advise --memory 1T --page-size 4K --json`;

export function defineAdvise(program: Command, context: CommandContext): void {
  program
    .command('advise')
    .description("Tells which table size Linux and QEMU choose for a guest's memory.")
    .requiredOption('--memory <bytes>', 'memory of the guest, such as 64G or 1.5T', memoryBytes)
    .addOption(
      new Option('--page-size <size>', "page size of the guest's kernel")
        .choices(['4K', '64K'])
        .default('64K'),
    )
    .option('--json', JSON_DOCUMENT)
    .addHelpText('after', EXAMPLES)
    .action(async (options: AdviseCommandOptions) => {
      const { advise } = await import('./run.js');
      await context.run(
        () => Promise.resolve(advise(options, context.output)),
        options.json === true ? context.output.stdout : undefined,
      );
    });
}
