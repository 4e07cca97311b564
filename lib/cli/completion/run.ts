import type { Command } from 'commander';
import { bashScript } from './bash.js';
import { fishScript } from './fish.js';
import { treeOf, type CommandTree } from './tree.js';
import { zshScript } from './zsh.js';

const SCRIPTS = { bash: bashScript, zsh: zshScript, fish: fishScript } satisfies Record<
  string,
  (tree: CommandTree) => string
>;

export type Shell = keyof typeof SCRIPTS;

/**
 * The completion script of a shell. It holds all the words itself: a script that asks the command at every TAB starts a
 * process each time, and has to evaluate what the user has typed so far.
 */
export function completion(shell: Shell, program: Command): string {
  return SCRIPTS[shell](treeOf(program));
}
