/** Longest foreign text in a message, in UTF-16 units. */
const MAX_LENGTH = 500;

/** What terminals and logs act upon, or do not show: control and format characters, line separators, lone surrogates. */
const UNSAFE = /[\p{C}\p{Zl}\p{Zp}]/gu;
const SHORT: Readonly<Record<string, string>> = { '\n': '\\n', '\r': '\\r', '\t': '\\t' };

/**
 * A text with every character that is not safe on a terminal as JSON's escape for it, so that the text stays on one line.
 * Escaping twice is escaping once.
 */
export function escapeText(text: string): string {
  return text.replace(
    UNSAFE,
    (character) => SHORT[character] ?? character.split('').map(unitEscape).join(''),
  );
}

/** A text from a peer, a VMM or a file, as it may stand in a message: on one line, safe, and not long. */
export function foreignText(text: string): string {
  return escapeText(text.slice(0, MAX_LENGTH).trim());
}

/** The same in quotes, which shows where it begins and ends: a JSON string. */
export function quotedText(text: string): string {
  return escapeText(JSON.stringify(text.slice(0, MAX_LENGTH)));
}

function unitEscape(unit: string): string {
  return `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`;
}
