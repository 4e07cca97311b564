import { readFileSync } from 'node:fs';
import type { Writable } from 'node:stream';
import { Command, CommanderError, InvalidArgumentError } from 'commander';
import { EXIT_CODES, exitCodeOf } from './exit-codes.js';
import { Interrupted, interruptible } from './interrupt.js';

/** Where a command writes: data to stdout, everything said to a person to stderr. */
export interface Output {
  readonly stdout: Writable;
  readonly stderr: Writable & { readonly isTTY?: boolean };
}

/** What a command gives back: its exit code. */
export type CommandResult = Promise<number>;

const EXIT_CODE_HELP = `
Exit codes:
  0    done
  1    failed, or something differs
  2    wrong usage
  3    what the command needs is not on this machine
  4    in doubt: the guest may run at the destination, and must stay stopped here
  130  interrupted (SIGINT); 143 ended (SIGTERM)`;

/**
 * Runs the `kvm-htab` command.
 *
 * @param args the command line, without interpreter and script
 * @returns the exit code, one of {@link EXIT_CODES} or 128 + a signal's number
 */
export async function run(args: readonly string[], output: Output): Promise<number> {
  let result: number = EXIT_CODES.ok;
  const program = new Command('kvm-htab')
    .description('Reads, writes and migrates the hashed page table of POWER KVM guests.')
    .version(packageVersion())
    .addHelpText('after', EXIT_CODE_HELP)
    .configureOutput({
      writeOut: (text) => output.stdout.write(text),
      writeErr: (text) => output.stderr.write(text),
    })
    .exitOverride();

  program
    .command('demo')
    .description(
      'Moves the page table of a real Linux guest, changing all the time, to another (emulated) machine.',
    )
    .option('--seed <number>', 'seed of what the guest does', integer(0, 2 ** 32 - 1), 1)
    .option('--order <number>', "log2 of the table's bytes; 23 is the guest's own", integer(19, 36), 23)
    .option('--rate <number>', 'steps the guest takes per second', integer(0, 1_000_000), 8000)
    .option('--json', 'print the result as one JSON document')
    .addHelpText(
      'after',
      '\nExamples:\n  $ kvm-htab demo\n  $ kvm-htab demo --rate 50000 --order 26\n  $ kvm-htab demo --json > result.json',
    )
    .action(async (options: { seed: number; order: number; rate: number; json?: true }) => {
      const { demo } = await import('./demo/demo.js');
      result = await interruptible((signal) => demo(options, output, signal));
    });

  try {
    await program.parseAsync(args, { from: 'user' });
    return result;
  } catch (error) {
    // Commander has said what is wrong; --help and --version end here too.
    if (error instanceof CommanderError) return error.exitCode === 0 ? EXIT_CODES.ok : EXIT_CODES.usage;
    output.stderr.write(`kvm-htab: ${error instanceof Error ? error.message : String(error)}\n`);
    return error instanceof Interrupted ? error.exitCode : exitCodeOf(error);
  }
}

/** Reads an option's value as an integer in `min..max`. */
function integer(min: number, max: number): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (!/^\d+$/.test(text) || value < min || value > max) {
      throw new InvalidArgumentError(`It must be an integer in ${min}..${max}.`);
    }
    return value;
  };
}

function packageVersion(): string {
  const text = readFileSync(new URL('../../package.json', import.meta.url), 'utf8');
  return (JSON.parse(text) as { version: string }).version;
}
