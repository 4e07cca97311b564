import { InvalidArgumentError } from 'commander';
import type { PageShift } from '../../hpt/page-size.js';
import { isMigrationId } from '../../migration/migration-id.js';
import { parseAddress, parseHostAndPort, socketPath } from '../../transport/address.js';

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

/** Reads an option's value as a number in `min..max`: `1`, `0.03`. */
export function fraction(min: number, max: number): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (!/^\d+(\.\d+)?$/.test(text) || value < min || value > max) {
      throw new InvalidArgumentError(`It must be a number in ${min}..${max}.`);
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

const PAGE_SHIFTS: readonly PageShift[] = [12, 16, 24, 34];

/** Reads page sizes as their log2: `12,16,24`. */
export function pageShifts(text: string): PageShift[] {
  return text.split(',').map((item) => {
    const shift = PAGE_SHIFTS.find((known) => String(known) === item);
    if (shift !== undefined) return shift;
    throw new InvalidArgumentError(
      `It must be one or more of ${PAGE_SHIFTS.join(', ')}, separated by commas.`,
    );
  });
}

/** Reads the name of a migration. */
export function migrationId(text: string): string {
  if (isMigrationId(text)) return text;
  throw new InvalidArgumentError('It must be 1 to 64 letters, digits and hyphens.');
}

/** Reads where to connect to, or to listen at. */
export const address = argument(parseAddress);

/** The same for a QEMU: it speaks no TLS of ours. */
export const plainAddress = argument((text) => {
  if (/^(unix:|tcp:)/.test(text)) return parseAddress(text);
  throw new TypeError('It must be unix:PATH or tcp://HOST:PORT.');
});

/** Reads the digest of a table. */
export const digest = argument((text) => {
  if (/^[0-9a-f]{64}$/.test(text)) return text;
  throw new TypeError('It must be 64 hexadecimal digits.');
});

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

const MEMORY_SHIFTS: Readonly<Record<string, number>> = { '': 0, k: 10, m: 20, g: 30, t: 40 };

/** Reads bytes of memory, in powers of 1024: `512M`, `64G`, `1.5T`. */
export function memoryBytes(text: string): number {
  const [, number, unit] = /^(\d+(?:\.\d+)?)([kmgt]?)(?:i?b)?$/i.exec(text) ?? [];
  const bytes = Number(number) * 2 ** (MEMORY_SHIFTS[unit?.toLowerCase() ?? ''] ?? NaN);
  if (Number.isSafeInteger(bytes) && bytes > 0) return bytes;
  throw new InvalidArgumentError('It must be bytes of memory, such as 512M or 64G.');
}

/** Reads an address of up to 64 bits: `0xc000000000000000`, or hexadecimal digits alone. */
export function hexAddress(text: string): bigint {
  const [, digits] = /^(?:0x)?([0-9a-f]{1,16})$/i.exec(text) ?? [];
  if (digits !== undefined) return BigInt(`0x${digits}`);
  throw new InvalidArgumentError('It must be a hexadecimal address of up to 64 bits.');
}
