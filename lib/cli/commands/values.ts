import { InvalidArgumentError } from 'commander';
import { isMigrationId } from '../../migration/protocol.js';
import { parseAddress, parseHostAndPort, socketPath } from '../transport/address.js';

/** Reads an option's value as an integer in `min..max`. */
export function integer(min: number, max: number): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (!/^\d+$/.test(text) || value < min || value > max) {
      throw new InvalidArgumentError(`It must be an integer in ${min}..${max}.`);
    }
    return value;
  };
}

const RATE_UNITS: Readonly<Record<string, number>> = { '': 1, k: 1e3, M: 1e6, G: 1e9 };

/** Reads bytes per second: `2500000`, `2500k`, `2.5M`, `1G`. */
export function byteRate(text: string): number {
  const [, number, unit] = /^(\d+(?:\.\d+)?)([kMG]?)$/.exec(text) ?? [];
  const bytes = Math.round(Number(number) * (RATE_UNITS[unit ?? ''] ?? NaN));
  if (bytes >= 1 && bytes <= 2 ** 40) return bytes;
  throw new InvalidArgumentError('It must be bytes per second, such as 500k or 2.5M.');
}

/** Reads the name of a migration. */
export function migrationId(text: string): string {
  if (isMigrationId(text)) return text;
  throw new InvalidArgumentError('It must be 1 to 64 letters, digits and hyphens.');
}

/** Reads where to connect to, or to listen at. */
export const address = argument(parseAddress);

/** Reads the path of a Unix socket. */
export const unixPath = argument(socketPath);

/** What reads the command line's text; what it throws is wrong usage. */
export function argument<T>(parse: (text: string) => T): (text: string) => T {
  return (text) => {
    try {
      return parse(text);
    } catch (error) {
      throw new InvalidArgumentError((error as Error).message);
    }
  };
}

/** Reads `PORT`, of this machine alone, or `HOST:PORT`. */
export function localPort(text: string): { host: string; port: number } {
  const place = parseHostAndPort(text.includes(':') ? text : `127.0.0.1:${text}`);
  if (place !== undefined) return place;
  throw new InvalidArgumentError('It must be PORT or HOST:PORT.');
}
