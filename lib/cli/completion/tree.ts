import type { Argument, Command, Option } from 'commander';

/** What may be typed in a place: a file, one of some words, or something that no shell can know. */
export type Value = 'file' | 'other' | readonly string[];

export interface OptionLeaf {
  /** With its hyphens. */
  readonly name: string;
  readonly description: string;
  /** Undefined for a switch. */
  readonly value: Value | undefined;
  /** The value may be left out; it then follows only as `--name=value`. */
  readonly optional: boolean;
}

export interface CommandLeaf {
  readonly name: string;
  readonly description: string;
  readonly options: readonly OptionLeaf[];
  /** Of its one argument, where it has one. */
  readonly argument: Value | undefined;
}

/** What the completion scripts are made from. */
export interface CommandTree {
  readonly name: string;
  readonly commands: readonly CommandLeaf[];
  /** Options of the command itself. */
  readonly options: readonly OptionLeaf[];
}

export function treeOf(program: Command): CommandTree {
  const names = program.commands.map((command) => command.name());
  return {
    name: program.name(),
    options: optionsOf(program),
    commands: program.commands.map((command) => ({
      name: command.name(),
      description: command.description(),
      options: optionsOf(command),
      argument: argumentOf(command.registeredArguments[0], names),
    })),
  };
}

function optionsOf(command: Command): OptionLeaf[] {
  return command
    .createHelp()
    .visibleOptions(command)
    .map((option) => ({
      name: option.long!,
      description: option.description,
      value: option.required || option.optional ? valueOf(option, option.flags) : undefined,
      optional: option.optional,
    }));
}

function argumentOf(argument: Argument | undefined, commands: readonly string[]): Value | undefined {
  if (argument === undefined) return undefined;
  return argument.name() === 'command' ? commands : valueOf(argument, `<${argument.name()}>`);
}

function valueOf({ argChoices }: Option | Argument, text: string): Value {
  return argChoices ?? (/<(file|path)>/.test(text) ? 'file' : 'other');
}
