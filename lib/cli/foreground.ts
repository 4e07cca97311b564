import { readFileSync } from 'node:fs';
import { isatty } from 'node:tty';

const STDIN = 0;

/**
 * Whether this process has its terminal to itself; otherwise moving the cursor would overwrite the lines of others. A
 * background process is not in the terminal's foreground group; one that a script started in the background, without job
 * control, is in the script's group and has no terminal to read from.
 */
export function hasTerminal(): boolean {
  return isatty(STDIN) && isForeground(ownStat());
}

/** @param stat as /proc/PID/stat has it: the name of the program, in brackets, may hold anything */
export function isForeground(stat: string): boolean {
  const [, , group, , , terminalGroup] = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return group === terminalGroup;
}

function ownStat(): string {
  try {
    return readFileSync('/proc/self/stat', 'utf8');
  } catch {
    return '';
  }
}
