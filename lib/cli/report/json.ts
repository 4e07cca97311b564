import { escapeText } from '../../base/foreign-text.js';

/** One line of JSON, for a stream of events. */
export function jsonLine(value: object): string {
  return `${escapeText(JSON.stringify(value, rounded))}\n`;
}

/** A document of JSON, for a result that a person may look at too. */
export function jsonDocument(value: object): string {
  // The same text for a program; and a terminal that it is shown on does not act upon any of it.
  return `${JSON.stringify(value, rounded, 2).split('\n').map(escapeText).join('\n')}\n`;
}

/** A report as a program gets it from every command: `passes` is their number, and `passReports` tells of each. */
export function reportFields(report: object): object {
  const { passes, ...others } = report as { readonly passes?: unknown };
  return Array.isArray(passes) ? { ...others, passes: passes.length, passReports: passes } : report;
}

/** Measured numbers with as many digits as mean something: rates whole, milliseconds and parts with three decimals. */
function rounded(name: string, value: unknown): unknown {
  if (typeof value !== 'number' || Number.isInteger(value)) return value;
  return name.endsWith('PerSecond') ? Math.round(value) : Math.round(value * 1000) / 1000;
}
