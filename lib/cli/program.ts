import { readFileSync } from 'node:fs';
import path from 'node:path';
import type { Writable } from 'node:stream';
import { Command, CommanderError } from 'commander';
import type { CommandContext } from './commands/context.js';
import { defineDemo } from './commands/demo.js';
import { defineReceive } from './commands/receive.js';
import { defineResolve } from './commands/resolve.js';
import { defineSend } from './commands/send.js';
import { bareEmulated } from './commands/endpoint-options.js';
import { defineLoad } from './commands/load.js';
import { defineProbe } from './commands/probe.js';
import { defineSave } from './commands/save.js';
import { describeError } from './describe-error.js';
import { EXIT_CODES, exitCodeOf } from './exit-codes.js';
import { interruptible } from './interrupt.js';
import { failedEvent } from './reporter.js';
import { packageRoot } from '../node/package-root.js';

/** Where a command writes: data to stdout, everything said to a person to stderr. */
export interface Output {
  readonly stdout: Writable;
  readonly stderr: Writable & { readonly isTTY?: boolean };
}

/** In the order in which the help names them. */
const COMMANDS = [defineProbe, defineSend, defineReceive, defineResolve, defineSave, defineLoad, defineDemo];

const EXIT_CODE_HELP = `
Exit codes:
  0    done
  1    failed, or something differs
  2    wrong usage
  3    what the command needs is not on this machine
  4    in doubt: the guest may run at the destination, and must stay stopped here (see resolve)
  5    failed, and the guest, which is here and unharmed, could not be resumed: it is stopped
  130  interrupted (SIGINT); 143 ended (SIGTERM); 129 its terminal has gone (SIGHUP)`;

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
      outputError: (text, write) => {
        write(asOurs(text));
      },
    })
    .exitOverride();

  const context: CommandContext = {
    output,
    run: async (job, json = false) => {
      try {
        result = await interruptible(job);
      } catch (error) {
        if (json) output.stdout.write(failedEvent(error));
        throw error;
      }
    },
  };
  for (const define of COMMANDS) define(program, context);

  try {
    await program.parseAsync(bareEmulated(args), { from: 'user' });
    return result;
  } catch (error) {
    // Commander has said what is wrong; --help and --version end here too.
    if (error instanceof CommanderError) return error.exitCode === 0 ? EXIT_CODES.ok : EXIT_CODES.usage;
    output.stderr.write(`kvm-htab: ${describeError(error)}\n`);
    return exitCodeOf(error);
  }
}

/** What commander says of wrong usage, as every other error is said. */
function asOurs(text: string): string {
  const help = text.startsWith('error: missing required argument') ? '; see --help' : '';
  return text.replace(/^error: (.*)/, `kvm-htab: $1${help}`);
}

function packageVersion(): string {
  const text = readFileSync(path.join(packageRoot(), 'package.json'), 'utf8');
  return (JSON.parse(text) as { version: string }).version;
}
