import { MAX_STREAM_ORDER, MIN_ORDER } from '../../hpt/geometry.js';
import type { HostModel } from '../../vm/host.js';

/** An emulated VM, and the guest in it. */
export interface EmulatedSpec {
  readonly host: HostModel;
  /** log2 of the host's page size. */
  readonly pageShift: 12 | 16;
  /** log2 of the table's bytes. */
  readonly order: number;
  /** A file that holds the table, of any kind that `readTableFile` takes. Its order counts then. */
  readonly file: string | undefined;
  /** Seed of what the guest does. */
  readonly seed: number;
  /** Steps that the guest has taken at the start. */
  readonly steps: number;
  /** Steps per second that the guest goes on with; 0: it is stopped. */
  readonly rate: number;
}

/** By default the guest has worked for a while on a table of 16 MiB, and is stopped. */
const DEFAULTS: EmulatedSpec = {
  host: 'power9',
  pageShift: 16,
  order: 24,
  file: undefined,
  seed: 1,
  steps: 20_000,
  rate: 0,
};

const MAX = { seed: 2 ** 32 - 1, steps: 100_000_000, rate: 1_000_000 } as const;

const HOST_KEYS = `host (power8 or power9; ${DEFAULTS.host}), page-shift (12 or 16; ${DEFAULTS.pageShift})`;

/** For `--help`: each key with its values and its default. */
export const SPEC_HELP = {
  source:
    `KEY=VALUE, separated by commas: ${HOST_KEYS}, order (${MIN_ORDER}..${MAX_STREAM_ORDER}; ${DEFAULTS.order}), file (one that holds the table, as inspect takes), ` +
    `seed (0..${MAX.seed}; ${DEFAULTS.seed}), steps (0..${MAX.steps}; ${DEFAULTS.steps}, or 0 with a file), ` +
    `rate (steps per second, 0..${MAX.rate}; ${DEFAULTS.rate})`,
  target: `KEY=VALUE, separated by commas: ${HOST_KEYS}`,
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
  file: (path) => ({ file: path }),
  seed: (value) => ({ seed: integer(value, 'seed', 0, MAX.seed) }),
  steps: (value) => ({ steps: integer(value, 'steps', 0, MAX.steps) }),
  rate: (value) => ({ rate: integer(value, 'rate', 0, MAX.rate) }),
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
  const seen = new Set<string>();
  let given: Partial<EmulatedSpec> = {};
  for (const part of text.split(',').filter((each) => each !== '')) {
    const [, key = '', value = ''] = /^([^=]+)=(.+)$/.exec(part) ?? [];
    if (!Object.hasOwn(keys, key)) {
      throw new TypeError(`"${part}" is not KEY=VALUE with a key of ${Object.keys(keys).join(', ')}.`);
    }
    if (seen.has(key)) throw new TypeError(`${key} is given twice.`);
    seen.add(key);
    given = { ...given, ...keys[key]!(value) };
  }
  if (given.file !== undefined && given.order !== undefined) {
    throw new TypeError('order and file exclude each other: the file has an order.');
  }
  // A given table stays as it is, unless steps for the guest are given too.
  return { ...DEFAULTS, ...(given.file === undefined ? {} : { steps: 0 }), ...given };
}

function integer(value: string, key: string, min: number, max: number): number {
  const number = Number(value);
  if (/^\d+$/.test(value) && number >= min && number <= max) return number;
  throw new TypeError(`${key} must be an integer in ${min}..${max}.`);
}
