import { Ending } from './ending.js';
import { EXIT_CODES } from './errors/exit-codes.js';
import { run } from './program.js';
import { standardStreams } from './standard-streams.js';

/** The `kvm-htab` command in a process of its own, which ends with it. */
export async function command(args: readonly string[]): Promise<never> {
  const output = standardStreams();
  // A closed or full output must not end a migration half way: the command goes on for the sake of its guest. A reader
  // that has seen enough (`kvm-htab ... | head`) is not a failure either.
  for (const stream of [output.stdout, output.stderr]) stream.on('error', () => undefined);

  const ending = new Ending(output);
  let exitCode = await run(args, output, ending.hurry);
  await ending.drain();
  const unwritten: NodeJS.ErrnoException | null = output.stdout.errored;
  if (unwritten !== null && unwritten.code !== 'EPIPE') {
    output.stderr.write('kvm-htab: standard output could not be written to\n');
    // The exit code of these two says where the guest is, and not whether the output could be written.
    const isAboutGuest = ['send', 'receive'].includes(args[0] ?? '');
    if (exitCode === EXIT_CODES.ok && !isAboutGuest) exitCode = EXIT_CODES.failed;
  }
  return ending.end(exitCode);
}
