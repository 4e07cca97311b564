import type { CommandLeaf, CommandTree, OptionLeaf, Value } from './tree.js';

/** For fish 3 and later. */
export function fishScript({ name, commands, options }: CommandTree): string {
  const lines = [
    '-f',
    ...options.map((option) => `-n __fish_use_subcommand ${optionWords(option)}`),
    ...commands.map((each) => `-n __fish_use_subcommand -a ${each.name} -d ${quoted(each.description)}`),
    ...commands.flatMap(commandLines),
  ];
  return `# fish completion of ${name}\n${lines.map((line) => `complete -c ${name} ${line}\n`).join('')}`;
}

function commandLines({ name, options, argument }: CommandLeaf): string[] {
  const when = `-n '__fish_seen_subcommand_from ${name}'`;
  const lines = options.map((option) => `${when} ${optionWords(option)}`);
  if (argument === undefined || argument === 'other') return lines;
  return [...lines, `${when} ${argument === 'file' ? '-F' : `-a '${argument.join(' ')}'`}`];
}

function optionWords({ name, description, value, optional }: OptionLeaf): string {
  const words = `-l ${name.slice(2)} -d ${quoted(description)}`;
  return value === undefined || optional ? words : `${words} ${valueWords(value)}`;
}

function valueWords(value: Value): string {
  if (value === 'file') return '-r -F';
  return value === 'other' ? '-x' : `-x -a '${value.join(' ')}'`;
}

function quoted(text: string): string {
  return `'${text.replaceAll(/['\\]/g, '\\$&')}'`;
}
