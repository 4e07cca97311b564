/** One line of JSON, for a stream of events. */
export function jsonLine(value: object): string {
  return `${JSON.stringify(value, rounded)}\n`;
}

/** A document of JSON, for a result that a person may look at too. */
export function jsonDocument(value: object): string {
  return `${JSON.stringify(value, rounded, 2)}\n`;
}

/** Measured numbers with as many digits as mean something: rates whole, milliseconds and parts with three decimals. */
function rounded(name: string, value: unknown): unknown {
  if (typeof value !== 'number' || Number.isInteger(value)) return value;
  return name.endsWith('PerSecond') ? Math.round(value) : Math.round(value * 1000) / 1000;
}
