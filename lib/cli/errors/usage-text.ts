import { escapeText } from '../../base/foreign-text.js';

/** What commander says of wrong usage, and the same without its own words. */
const REWRITES: readonly (readonly [RegExp, string])[] = [
  [/^option '(-[\w-]+)[^']*' argument missing$/, '$1 needs a value'],
  [/^option '(-[\w-]+)[^']*' argument '([^]*)' is invalid\. /, "$1 '$2': "],
  [/^command-argument value '([^]*)' is invalid for argument '([\w-]+)'\. /, "$2 '$1': "],
  [/: Allowed choices are /, ': it must be one of '],
  [/: It must /, ': it must '],
  [/^option '(-[\w-]+)[^']*' cannot be used with option '(-[\w-]+)[^']*'$/, '$1 cannot be used with $2'],
  [/^(too many arguments for '\w+')\. Expected 0 .*$/, '$1: it takes none'],
  [
    /^(too many arguments for '\w+')\. Expected (\d+ arguments?) but got (\d+).*$/,
    '$1: it takes $2, and got $3',
  ],
  [/^required option '(?:-\w, )?(--[\w-]+)[^']*' not specified$/, '$1 is required; see --help'],
  [/^(missing required argument .*)$/, '$1; see --help'],
  [/\.$/, ''],
  [/\n\(Did you mean (.*)\?\)$/, '; did you mean $1?'],
];

/** What commander says of wrong usage, in the form of every other error. */
export function usageText(text: string): string {
  const message = text.replace(/^error: /, '').trimEnd();
  return `kvm-htab: ${escapeText(REWRITES.reduce((said, [pattern, better]) => said.replace(pattern, better), message))}\n`;
}
