import { checkPath } from '../../base/arguments.js';
import { checkOptions, numbersOf, type OptionTable } from '../../base/options.js';
import { MAX_MS } from '../../base/time.js';

/** How a monitor is connected to. */
export interface QmpOptions {
  /** Longest time to connect, and for one answer, in ms, 1..2^31 - 1; default 30,000. */
  readonly timeoutMs?: number | undefined;
  /** Ends the attempt to connect with its reason; a connection that stands is ended by `close` alone. */
  readonly signal?: AbortSignal | undefined;
}

export const QMP_OPTIONS = {
  timeoutMs: {
    ...{ min: 1, max: MAX_MS, default: 30_000, unit: 'ms' },
    doc: 'longest time to connect, and longest time for one answer',
  },
  signal: { doc: 'ends the attempt to connect' },
} as const satisfies OptionTable<QmpOptions>;

/** @throws TypeError, RangeError for an invalid path or option */
export function checkQmpArguments(path: string, options: QmpOptions): { readonly timeoutMs: number } {
  checkPath('path', path);
  checkOptions(options, QMP_OPTIONS);
  return numbersOf(QMP_OPTIONS, options);
}
