import { MAX_STREAM_ORDER, MIN_ORDER } from '../hpt/geometry.js';
import type { HostModel } from '../vm/host.js';

/** What an emulated VM is to be like, and the guest in it. */
export interface EmulatedSpec {
  readonly host: HostModel;
  /** log2 of the host's page size. */
  readonly pageShift: 12 | 16;
  /** log2 of the table's bytes. */
  readonly order: number;
  /** A file that holds a table: its memory, 16 bytes an entry, big-endian; or a snapshot. Its order counts then. */
  readonly table: { readonly kind: 'image' | 'snapshot'; readonly path: string } | undefined;
  /** Of what the guest does. */
  readonly seed: number;
  /** Steps the guest has taken when it begins. */
  readonly steps: number;
  /** Steps per second that it goes on with; 0: it stands still. */
  readonly rate: number;
}

/** Without a word about it, the guest has worked for a while on a table of 16 MiB, and stands still. */
const DEFAULTS: EmulatedSpec = {
  host: 'power9',
  pageShift: 16,
  order: 24,
  table: undefined,
  seed: 1,
  steps: 20_000,
  rate: 0,
};

/** For `--help`. */
export const SPEC_HELP = {
  source:
    'KEY=VALUE, separated by commas: host (power8 or power9), page-shift (12 or 16), order, image or snapshot (a file that holds the table), seed, steps, rate (steps per second)',
  target: 'KEY=VALUE, separated by commas: host (power8 or power9), page-shift (12 or 16)',
} as const;

type Reader = (value: string) => Partial<EmulatedSpec>;

const hostKeys: Readonly<Record<string, Reader>> = {
  host: (value) => {
    if (value !== 'power8' && value !== 'power9') throw new TypeError('host must be power8 or power9.');
    return { host: value };
  },
  'page-shift': (value) => {
    if (value !== '12' && value !== '16') throw new TypeError('page-shift must be 12 or 16.');
    return { pageShift: value === '12' ? 12 : 16 };
  },
};

const guestKeys: Readonly<Record<string, Reader>> = {
  order: (value) => ({ order: integer(value, 'order', MIN_ORDER, MAX_STREAM_ORDER) }),
  image: (path) => ({ table: { kind: 'image', path } }),
  snapshot: (path) => ({ table: { kind: 'snapshot', path } }),
  seed: (value) => ({ seed: integer(value, 'seed', 0, 2 ** 32 - 1) }),
  steps: (value) => ({ steps: integer(value, 'steps', 0, 100_000_000) }),
  rate: (value) => ({ rate: integer(value, 'rate', 0, 1_000_000) }),
};

const keysOf = { source: { ...hostKeys, ...guestKeys }, target: hostKeys } as const;

/** Whether this begins with one of the keys, and not as a file's name would. */
export function isEmulatedSpec(text: string): boolean {
  const [key = '', value] = text.split('=');
  return value !== undefined && Object.hasOwn(keysOf.source, key);
}

/**
 * Reads the value of `--emulated`.
 *
 * @param role of the VM; a target has no guest yet
 * @throws TypeError that says what is expected
 */
export function parseEmulatedSpec(text: string, role: 'source' | 'target'): EmulatedSpec {
  const keys: Readonly<Record<string, Reader>> = keysOf[role];
  let given: Partial<EmulatedSpec> = {};
  for (const part of text.split(',').filter((each) => each !== '')) {
    const [, key = '', value = ''] = /^([^=]+)=(.+)$/.exec(part) ?? [];
    if (!Object.hasOwn(keys, key)) {
      throw new TypeError(`"${part}" is not KEY=VALUE with a key of ${Object.keys(keys).join(', ')}.`);
    }
    given = { ...given, ...keys[key]!(value) };
  }
  if (given.table !== undefined && given.order !== undefined) {
    throw new TypeError(`order and ${given.table.kind} exclude each other: the file has an order.`);
  }
  // A table that somebody has made is as it was made, unless the guest is told to work on it.
  return { ...DEFAULTS, ...(given.table === undefined ? {} : { steps: 0 }), ...given };
}

function integer(value: string, key: string, min: number, max: number): number {
  const number = Number(value);
  if (/^\d+$/.test(value) && number >= min && number <= max) return number;
  throw new TypeError(`${key} must be an integer in ${min}..${max}.`);
}
