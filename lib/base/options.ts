import {
  checkFunction,
  checkInteger,
  checkMethod,
  checkNumber,
  checkObject,
  invalidValueError,
} from './arguments.js';

/**
 * One option, as the check of the library, the command line and the table of options (`lib/cli/options.md`) all have it.
 *
 * `doc` is a phrase without a full stop: `--help` prints it as it is.
 */
export interface OptionRow {
  readonly doc: string;
  /** The values in words, where a range or a list of choices does not tell them. */
  readonly values?: string;
}

/** An option that is a number in `min..max`. Without a default, leaving it out means what `doc` says. */
export interface NumberRow extends OptionRow {
  readonly min: number;
  readonly max: number;
  /** It need not be whole. */
  readonly fraction?: true;
  readonly default?: number;
  readonly unit: string;
}

/** An option that is one of a few words. */
export interface ChoiceRow<Choice extends string = string> extends OptionRow {
  readonly choices: readonly Choice[];
  readonly default?: Choice;
}

/** An option that is on or off. */
export interface SwitchRow extends OptionRow {
  readonly default: boolean;
}

/** A row for each option of an interface, of the kind that the option's type asks for. */
export type OptionTable<Options> = {
  readonly [Name in keyof Options]-?: RowOf<NonNullable<Options[Name]>>;
};

type RowOf<Value> = [Value] extends [number]
  ? NumberRow
  : [Value] extends [boolean]
    ? SwitchRow
    : [Value] extends [string]
      ? string extends Value
        ? OptionRow
        : ChoiceRow<Value>
      : [boolean] extends [Value]
        ? SwitchRow
        : OptionRow;

/** The values of the numbers in a table. */
export type NumbersOf<Table> = {
  readonly [Name in keyof Table as Table[Name] extends NumberRow ? Name : never]: Table[Name] extends {
    readonly default: number;
  }
    ? number
    : number | undefined;
};

export function isNumberRow(row: OptionRow): row is NumberRow {
  return 'min' in row;
}

export function isChoiceRow(row: OptionRow): row is ChoiceRow {
  return 'choices' in row;
}

/**
 * The numbers among these options, each checked, or its default.
 *
 * @throws RangeError (`ERR_OUT_OF_RANGE`) for one outside its range, or not whole where it must be
 */
export function numbersOf<Table extends Readonly<Record<string, OptionRow>>>(
  table: Table,
  options: { readonly [Name in keyof Table]?: unknown },
): NumbersOf<Table> {
  const numbers: Record<string, unknown> = {};
  for (const [name, row] of Object.entries(table)) {
    if (!isNumberRow(row)) continue;
    const value = options[name];
    const check = row.fraction === true ? checkNumber : checkInteger;
    if (value !== undefined) check(name, value, row.min, row.max);
    numbers[name] = value ?? row.default;
  }
  return numbers as NumbersOf<Table>;
}

/** The names of a function's options, where there is no {@link OptionTable} of them. */
export type OptionNames<Options> = { readonly [Name in keyof Options]-?: true };

/**
 * Refuses options that are not an object, and a name that is no option: left unread, a misspelt limit would not hold, and a
 * misplaced `pause` not stop the guest. Of the two options that most functions have it checks the type, which would show
 * only when they are first used.
 *
 * @param names a property for each option
 * @throws TypeError (`ERR_INVALID_ARG_TYPE`, `ERR_INVALID_ARG_VALUE`)
 */
export function checkOptions<Options extends object>(
  options: Options,
  names: { readonly [Name in keyof Options]-?: unknown },
): void {
  checkObject('options', options);
  for (const name of Object.keys(options)) {
    if (Object.hasOwn(names, name)) continue;
    throw invalidValueError(`There is no option "${name}"; the options are ${Object.keys(names).join(', ')}`);
  }
  const { signal, onProgress } = options as { readonly signal?: unknown; readonly onProgress?: unknown };
  if (signal !== undefined) checkMethod('signal', signal, 'throwIfAborted', 'an AbortSignal');
  if (onProgress !== undefined) checkFunction('onProgress', onProgress);
}
