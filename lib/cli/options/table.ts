import { type Command, Option } from 'commander';
import { INT_MAX } from '../../base/arguments.js';
import { MAX_STREAM_ORDER, MIN_ORDER } from '../../hpt/geometry.js';
import { ATTACH_OPTIONS } from '../../vm/kvm/attach-options.js';
import { SPEC_HELP, isEmulatedSpec, parseEmulatedSpec } from '../table/emulated-spec.js';
import { PLACES } from '../table/place.js';
import { UsageError } from '../errors/usage-error.js';
import { LibraryOption, integerOption } from './library-option.js';
import { argument, unixPath } from './values.js';

/** What the commands that look at tables read. */
export const TABLE_FILE = "a snapshot, a file of QEMU or libvirt, KVM's debugfs text, or a table's memory";

/** `--order`, of a table that does not tell it. */
export function orderOption(doc: string): Option {
  return integerOption('--order <n>', doc, { min: MIN_ORDER, max: MAX_STREAM_ORDER });
}

/**
 * Gives a command the options of {@link TableOptions}.
 *
 * @param role of the guest; `file's target`: its table comes from a file, and `--order` may be of that
 */
export function addTableOptions(command: Command, role: 'source' | 'target' | "file's target"): Command {
  const verb = role === 'source' ? 'reading' : 'writing';
  const attach = new LibraryOption('--attach <pid>', ATTACH_OPTIONS.pid);
  for (const option of [
    ...(role === 'source' ? [attach] : []),
    integerOption('--htab-fd <n>', `inherited HTAB descriptor, open for ${verb}`, {
      ...{ min: 0, max: INT_MAX },
    }),
    new Option('--htab-socket <path>', 'control socket of a VMM that passes the descriptor').argParser(
      unixPath,
    ),
    integerOption('--pid <n>', 'process to take the descriptor --pid-fd from', { min: 1, max: INT_MAX }),
    new Option(
      '--emulated [spec]',
      `no guest: an emulated VM, as =SPEC describes it: ${SPEC_HELP[role === 'source' ? role : 'target']}`,
    )
      .argParser(argument((text) => parseEmulatedSpec(text, role === 'source' ? role : 'target')))
      .conflicts(role === "file's target" ? [] : 'order'),
  ]) {
    const name = option.attributeName();
    command.addOption(option.conflicts(PLACES.filter((place) => place !== name)));
  }
  if (role === 'source') {
    command.addOption(new LibraryOption('--vm-fd <n>', ATTACH_OPTIONS.fd));
    command.addOption(qmpOption());
  }
  return command
    .addOption(
      integerOption('--pid-fd <n>', 'number of the descriptor in that process', { min: 0, max: INT_MAX }),
    )
    .addOption(
      orderOption(
        "log2 of the table's bytes, needed where only a descriptor is given, or a debugfs text leaves it open",
      ),
    );
}

function qmpOption(): Option {
  const help =
    "beside --attach, --htab-fd, --htab-socket or --pid (save: also alone), the monitor of the guest's QEMU (-qmp unix:PATH,server=on,wait=off): it stops the guest where that is needed, and nothing " +
    'is read while it migrates the guest';
  return new Option('--qmp <path>', help)
    .argParser(unixPath)
    .conflicts(['emulated', 'onPause', 'onResume', 'onThrottle', 'alreadyPaused']);
}

/**
 * A bare `--emulated` as `--emulated=`: otherwise it would take the command's file for its value.
 *
 * @throws UsageError where a spec follows as a word of its own
 */
export function bareEmulated(args: readonly string[]): string[] {
  const spec = args.find((arg, k) => args[k - 1] === '--emulated' && isEmulatedSpec(arg));
  if (spec !== undefined)
    throw new UsageError(`did you mean --emulated=${spec}? (a file of that name is ./${spec})`);
  return args.map((arg) => (arg === '--emulated' ? '--emulated=' : arg));
}
