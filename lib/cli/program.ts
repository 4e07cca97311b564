import { readFileSync } from 'node:fs';
import path from 'node:path';
import { Command, CommanderError } from 'commander';
import type { CommandContext } from './command-context.js';
import { defineAdvise } from './advise/command.js';
import { defineCheck } from './check/command.js';
import { defineCompletion } from './completion/command.js';
import { defineDemo } from './demo/command.js';
import { defineDoctor } from './doctor/command.js';
import { defineDiff } from './diff/command.js';
import { defineExport } from './export/command.js';
import { defineExtract } from './extract/command.js';
import { defineFit } from './fit/command.js';
import { defineInspect } from './inspect/command.js';
import { defineRelay } from './relay/command.js';
import { defineReceive } from './receive/command.js';
import { defineResolve } from './resolve/command.js';
import { defineRewrite } from './rewrite/command.js';
import { defineSend } from './send/command.js';
import { bareEmulated } from './options/table.js';
import { defineLoad } from './load/command.js';
import { defineProbe } from './probe/command.js';
import { defineSave } from './save/command.js';
import { describeError } from './errors/describe-error.js';
import { EXIT_CODES, exitCodeOf } from './errors/exit-codes.js';
import { defineReport } from './report-page/command.js';
import { defineWatch } from './watch/command.js';
import { interruptible } from './interrupt.js';
import { failedEvent } from './report/event-reporter.js';
import { usageText } from './errors/usage-text.js';
import { packageRoot } from '../base/package-root.js';
import type { Output } from './output.js';

/** In the order in which the help names them. */
const COMMANDS = [
  defineProbe,
  defineDoctor,
  defineSend,
  defineReceive,
  defineResolve,
  defineSave,
  defineLoad,
  defineCheck,
  defineExtract,
  defineRewrite,
  defineRelay,
  defineInspect,
  defineDiff,
  defineWatch,
  defineReport,
  defineFit,
  defineAdvise,
  defineExport,
  defineDemo,
  defineCompletion,
];

const EXIT_CODE_HELP = `
Exit codes:
  0    done
  1    failed, or something differs
  2    invalid usage
  3    this machine lacks what the command needs
  4    in doubt: the guest may run at the destination, and must stay stopped here (see resolve)
  5    failed, and the guest is here, unharmed, and stopped as far as is known: look, and let it run by hand
  130  interrupted (SIGINT); 143 terminated (SIGTERM); 129 hung up (SIGHUP)`;

/**
 * Runs the `kvm-htab` command.
 *
 * @param args the command line, without interpreter and script
 * @param late called for a signal that comes when the command's job is done: see {@link interruptible}
 * @returns the exit code, one of {@link EXIT_CODES} or 128 + a signal's number
 */
export async function run(args: readonly string[], output: Output, late?: () => void): Promise<number> {
  let result: number = EXIT_CODES.ok;
  const program = defineProgram({
    output,
    run: async (job, failures) => {
      try {
        result = await interruptible(job, late);
      } catch (error) {
        failures?.write(failedEvent(error));
        throw error;
      }
    },
  });
  try {
    await program.parseAsync(bareEmulated(args), { from: 'user' });
    return result;
  } catch (error) {
    // Commander has printed the error; --help and --version end here too.
    if (error instanceof CommanderError) return error.exitCode === 0 ? EXIT_CODES.ok : EXIT_CODES.usage;
    output.stderr.write(`kvm-htab: ${describeError(error)}\n`);
    return exitCodeOf(error);
  }
}

/** The command line: what `--help`, the completions, the man page and the table of options are made from. */
export function defineProgram(context: CommandContext): Command {
  const { stdout, stderr } = context.output;
  const program = new Command('kvm-htab')
    .description('Reads, writes and migrates the hashed page table of POWER KVM guests.')
    .version(packageVersion())
    .addHelpText('after', EXIT_CODE_HELP)
    .configureOutput({
      writeOut: (text) => stdout.write(text),
      writeErr: (text) => stderr.write(text),
      outputError: (text, write) => {
        write(usageText(text));
      },
    })
    .helpCommand(false)
    .exitOverride();
  for (const define of COMMANDS) define(program, context);
  defineHelp(program);
  return program;
}

/** Commander's own help command prints the whole help to stderr for an unknown command. */
function defineHelp(program: Command): void {
  program
    .command('help')
    .description('Shows the help of a command.')
    .argument('[command]')
    .action((name: string | undefined) => {
      const command = name === undefined ? program : program.commands.find((each) => each.name() === name);
      if (command === undefined) program.error(`error: unknown command '${name!}'`);
      command.help();
    });
}

function packageVersion(): string {
  const text = readFileSync(path.join(packageRoot(), 'package.json'), 'utf8');
  return (JSON.parse(text) as { version: string }).version;
}
