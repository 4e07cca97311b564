import type { Command } from 'commander';
import { RELAY_OPTIONS } from '../../qemu/relay/relay-options.js';
import { SECURITY_OPTIONS } from '../../transport/options.js';
import type { Address } from '../../transport/address.js';
import type { CommandContext } from '../command-context.js';
import { unstoppable } from '../interrupt.js';
import { LibraryOption } from '../options/library-option.js';
import { addEventOptions } from '../options/migration.js';
import { digest, plainAddress } from '../options/values.js';
import type { RelayCommandOptions } from './run.js';

const HELP = `
Start the destination's QEMU first (-incoming), then this, then migrate the source to <listen>. All passes on as it is, but the
state of the devices, without which no guest can run, only once the page table is known to be right. Otherwise both
connections end, and the guest goes on at the source.

Give the source the capability return-path (libvirt does): it then waits for the destination's word. It cannot migrate with
postcopy-ram, multifd, compress or TLS. Ends with 0 when the destination has the guest and the source knows it; without
return-path, when the destination has taken all. Ends with 4 when either may run the guest.

Examples:
  $ kvm-htab relay unix:/run/a.sock unix:/run/b.sock
  $ kvm-htab relay tcp://192.0.2.2:49152 tcp://127.0.0.1:49152 --insecure-plaintext --min-entries 1000`;

export function defineRelay(program: Command, context: CommandContext): void {
  const command = program
    .command('relay')
    .description('Passes a migration between two QEMUs on, and refuses one with a bad page table.')
    .argument('<listen>', 'where the source migrates to: unix:PATH or tcp://HOST:PORT', plainAddress)
    .argument('<connect>', "where the destination's QEMU waits: unix:PATH or tcp://HOST:PORT", plainAddress)
    .addOption(new LibraryOption('--min-entries <n>', RELAY_OPTIONS.minEntries))
    .addOption(new LibraryOption('--expect-digest <digest>', RELAY_OPTIONS.expectDigest).argParser(digest))
    .addOption(new LibraryOption('--insecure-plaintext', SECURITY_OPTIONS.insecurePlaintext));
  addEventOptions(command)
    .addHelpText('after', HELP)
    .action(async (from: Address, to: Address, options: RelayCommandOptions) => {
      const { relay } = await import('./run.js');
      await context.run((signal) => unstoppable(() => relay({ from, to, options, signal }, context.output)));
    });
}
