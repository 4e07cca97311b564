import { type Command, Option } from 'commander';
import { MAX_ORDER, MIN_ORDER } from '../../hpt/geometry.js';
import { SPEC_HELP, parseEmulatedSpec } from '../table/emulated-spec.js';
import type { CommandContext } from '../command-context.js';
import { integerOption } from '../options/library-option.js';
import { JSON_DOCUMENT } from '../options/report.js';
import { argument } from '../options/values.js';
import type { DoctorCommandOptions } from './run.js';

const EXAMPLES = `
It makes VMs of its own that run nothing, and touches no guest. Exits with 0 if the kernel does what every known one does
and has memory for the table, with 1 if not, with 3 if this machine's KVM has no tables. The text is fit for a bug report.

Examples:
  $ kvm-htab doctor
  $ kvm-htab doctor --order 30        # is there memory for a table of 1 GiB?
  $ kvm-htab doctor --emulated=host=power8 --json`;

export function defineDoctor(program: Command, context: CommandContext): void {
  program
    .command('doctor')
    .description("Asks this machine's kernel whether it behaves as this library expects.")
    .addOption(new Option('--device <path>', 'the KVM device').default('/dev/kvm'))
    .addOption(
      new Option('--emulated [spec]', `no kernel: the emulation, as =SPEC describes it: ${SPEC_HELP.target}`)
        .argParser(argument((text) => parseEmulatedSpec(text, 'target')))
        .conflicts('device'),
    )
    .addOption(
      integerOption('--order <n>', 'log2 of the bytes of a table to allocate for a try', {
        ...{ min: MIN_ORDER, max: MAX_ORDER, default: 24 },
      }),
    )
    .option('--json', JSON_DOCUMENT)
    .addHelpText('after', EXAMPLES)
    .action(async (options: DoctorCommandOptions) => {
      const { doctor } = await import('./run.js');
      await context.run(
        (signal) => doctor(options, context.output, signal),
        options.json === true ? context.output.stdout : undefined,
      );
    });
}
