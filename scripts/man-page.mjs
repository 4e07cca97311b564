// The manual page, from the definitions of the commands: dist/man/kvm-htab.1.
import { mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { commandTree, notesOf } from './command-tree.mjs';
import { root } from './native/toolchain.mjs';

/** @typedef {import('commander').Command} Command */

/** @param {string} text as roff prints it: a dot or quote at the beginning of a line would be a request */
const roff = (text) =>
  text
    .replaceAll('\\', '\\e')
    .replaceAll('-', '\\-')
    .replaceAll(/^(?=[.'])/gm, '\\&');

/** @param {Command} program */
export function manPage(program) {
  const name = program.name();
  return [
    `.TH ${name.toUpperCase()} 1 "" "${name} ${program.version()}" "User Commands"`,
    '.SH NAME',
    `${name} \\- ${roff(program.description())}`,
    '.SH SYNOPSIS',
    `.B ${roff(name)}`,
    '.I command',
    '.RI [ options ]',
    '.SH OPTIONS',
    ...optionsOf(program),
    '.SH COMMANDS',
    ...program.commands.flatMap((command) => commandSection(name, command)),
    '.SH EXIT STATUS',
    ...notes(notesOf(program).replace(/^.*\n/, '')),
    '',
  ].join('\n');
}

/** @param {string} name @param {Command} command */
function commandSection(name, command) {
  const help = command.createHelp();
  return [
    `.SS "${roff(`${name} ${command.name()} ${command.usage()}`)}"`,
    roff(command.description()),
    ...help
      .visibleArguments(command)
      .flatMap((each) => item(help.argumentTerm(each), help.argumentDescription(each))),
    ...optionsOf(command),
    ...notes(notesOf(command)),
  ];
}

/** @param {Command} command */
function optionsOf(command) {
  const help = command.createHelp();
  return help
    .visibleOptions(command)
    .flatMap((each) => item(help.optionTerm(each), help.optionDescription(each)));
}

/** @param {string} term @param {string} description */
const item = (term, description) => ['.TP', `.B "${roff(term)}"`, roff(description)];

/** Paragraphs; what is indented in the help keeps its lines. @param {string} text */
function notes(text) {
  return text.split('\n\n').flatMap((paragraph) => {
    const lines = paragraph.split('\n');
    const indented = lines.findIndex((line) => line.startsWith('  '));
    const prose = indented === -1 ? lines : lines.slice(0, indented);
    const kept = indented === -1 ? [] : ['.PP', '.nf', ...lines.slice(indented).map(roff), '.fi'];
    return [...(prose.length > 0 ? ['.PP', ...prose.map(roff)] : []), ...kept];
  });
}

if (process.argv[1] === import.meta.filename) {
  const file = path.join(root, 'dist/man/kvm-htab.1');
  mkdirSync(path.dirname(file), { recursive: true });
  writeFileSync(file, manPage(await commandTree()));
}
