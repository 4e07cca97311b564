import { type Command, Option } from 'commander';
import { MAX_STREAM_ORDER, MIN_ORDER } from '../../hpt/geometry.js';
import { type EmulatedSpec, SPEC_HELP, isEmulatedSpec, parseEmulatedSpec } from '../emulated-spec.js';
import { PLACES } from '../place.js';
import { UsageError } from '../usage-error.js';
import { argument, integer, unixPath } from './values.js';

/** Where a guest's table is, as the command line says it. Exactly one place must be given. */
export interface EndpointOptions {
  /** Number of an HTAB descriptor that this process has inherited. */
  readonly htabFd?: number;
  /** Control socket of a VMM, see `ControlSocket`. */
  readonly htabSocket?: string;
  /** Process that has the descriptor `pidFd`. */
  readonly pid?: number;
  readonly pidFd?: number;
  /** Not a guest's table at all, but one of an emulated VM. */
  readonly emulated?: EmulatedSpec;
  /** log2 of the table's bytes; a descriptor does not tell. */
  readonly order?: number;
}

/** Gives a command the options of {@link EndpointOptions}. */
export function addEndpointOptions(command: Command, role: 'source' | 'target'): Command {
  const verb = role === 'source' ? 'reading' : 'writing';
  const others = (place: (typeof PLACES)[number]): string[] => PLACES.filter((each) => each !== place);
  return command
    .addOption(
      new Option('--htab-fd <n>', `inherited HTAB descriptor, open for ${verb}`)
        .argParser(integer(0, 2 ** 31 - 1))
        .conflicts(others('htabFd')),
    )
    .addOption(
      new Option('--htab-socket <path>', 'control socket of a VMM that hands the descriptor over')
        .argParser(unixPath)
        .conflicts(others('htabSocket')),
    )
    .addOption(
      new Option('--pid <n>', 'process to take the descriptor --pid-fd from')
        .argParser(integer(1, 2 ** 31 - 1))
        .conflicts(others('pid')),
    )
    .addOption(new Option('--pid-fd <n>', 'its number in that process').argParser(integer(0, 2 ** 31 - 1)))
    .addOption(
      new Option('--emulated [spec]', `no guest: an emulated VM, which =SPEC describes: ${SPEC_HELP[role]}`)
        .argParser(argument((text) => parseEmulatedSpec(text, role)))
        .conflicts([...others('emulated'), 'order']),
    )
    .addOption(
      new Option('--order <n>', "log2 of the table's bytes, where only a descriptor is given").argParser(
        integer(MIN_ORDER, MAX_STREAM_ORDER),
      ),
    );
}

/**
 * A bare `--emulated` as `--emulated=`: else it would take the command's file for its value.
 *
 * @throws UsageError where a spec follows as a word of its own
 */
export function bareEmulated(args: readonly string[]): string[] {
  const spec = args.find((arg, k) => args[k - 1] === '--emulated' && isEmulatedSpec(arg));
  if (spec !== undefined)
    throw new UsageError(`did you mean --emulated=${spec}? (a file of that name is ./${spec})`);
  return args.map((arg) => (arg === '--emulated' ? '--emulated=' : arg));
}
