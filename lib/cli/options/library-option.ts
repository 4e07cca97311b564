import { Option } from 'commander';
import { isChoiceRow, isNumberRow, type NumberRow, type OptionRow } from '../../base/options.js';
import { fraction, integer } from './values.js';

/** An option of the library on the command line, with the same range, default and text. */
export class LibraryOption extends Option {
  readonly row: OptionRow;

  constructor(flags: string, row: OptionRow) {
    super(flags, row.values === undefined ? row.doc : `${row.doc} (${row.values})`);
    this.row = row;
    if (isNumberRow(row)) takeNumber(this, row);
    if (isChoiceRow(row)) this.choices(row.choices).default(row.default);
  }
}

type Range = Pick<NumberRow, 'min' | 'max' | 'default' | 'fraction'>;

/** An option of the command line alone that is a whole number. */
export function integerOption(flags: string, description: string, range: Range): Option {
  return takeNumber(new Option(flags, description), range);
}

function takeNumber<Taker extends Option>(
  option: Taker,
  { min, max, default: preset, ...row }: Range,
): Taker {
  const range = `range ${min}..${max}`;
  const number = row.fraction === true ? fraction : integer;
  option.argParser(number(min, max));
  if (preset === undefined) option.description += ` (${range})`;
  else option.default(preset, `${preset}; ${range}`);
  return option;
}
