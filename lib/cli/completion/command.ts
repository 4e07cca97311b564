import { Argument, type Command } from 'commander';
import type { CommandContext } from '../command-context.js';
import type { Shell } from './run.js';

const HELP = `
Examples:
  $ source <(kvm-htab completion bash)                                   # in ~/.bashrc
  $ kvm-htab completion zsh > ~/.zsh/functions/_kvm-htab                 # a folder of $fpath
  $ kvm-htab completion fish > ~/.config/fish/completions/kvm-htab.fish`;

export function defineCompletion(program: Command, context: CommandContext): void {
  program
    .command('completion')
    .description('Prints a script that completes commands and options in a shell.')
    .addArgument(new Argument('<shell>').choices(['bash', 'zsh', 'fish']))
    .addHelpText('after', HELP)
    .action(async (shell: Shell) => {
      const { completion } = await import('./run.js');
      context.output.stdout.write(completion(shell, program));
    });
}
