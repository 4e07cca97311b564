import { MAX_STATE_BYTES, type DestinationRest, type SourceRest } from '../../migration/rest.js';
import { quotedText } from '../../base/foreign-text.js';
import { UsageError } from '../errors/usage-error.js';
import { runHook } from './run-hook.js';

/** Longest text of a time. */
const MAX_TIME_BYTES = 64;

/** Commands that move all of a guest but its table, at the source. */
export interface SourceRestCommands {
  /** Ends once all else is at the destination; prints the state. */
  readonly onFinish?: string;
  /** Prints what `stopMs` gives. Default: 0. */
  readonly onRestMs?: string;
}

/** The same at the destination; all of them or none. */
export interface DestinationRestCommands {
  /** Reads the state. */
  readonly onAccept?: string;
  readonly onDiscard?: string;
  readonly onRun?: string;
}

/**
 * @param timeoutMs longest time for `--on-rest-ms`
 * @returns undefined where none is given
 * @throws UsageError for a time without the command that it is about
 */
export function sourceRestOf(
  { onFinish, onRestMs }: SourceRestCommands,
  timeoutMs: number,
): SourceRest | undefined {
  if (onFinish === undefined) {
    if (onRestMs !== undefined) throw new UsageError('--on-rest-ms needs --on-finish');
    return undefined;
  }
  return {
    stopMs: () => (onRestMs === undefined ? 0 : restMs(onRestMs, timeoutMs)),
    finish: ({ signal, migrationId, deadlineMs }) => {
      const variables = { KVM_HTAB_MIGRATION: migrationId, KVM_HTAB_DEADLINE_MS: String(deadlineMs) };
      const hook = { option: '--on-finish', command: onFinish, signal, variables };
      return runHook({ ...hook, maxOutput: MAX_STATE_BYTES });
    },
  };
}

async function restMs(command: string, timeoutMs: number): Promise<number> {
  const hook = { option: '--on-rest-ms', command, timeoutMs, maxOutput: MAX_TIME_BYTES };
  const text = Buffer.from(await runHook(hook))
    .toString()
    .trim();
  if (text === 'far') return Infinity;
  if (/^\d+(\.\d+)?$/.test(text)) return Number(text);
  throw new Error(
    `the command of --on-rest-ms printed ${quotedText(text)}; a number of ms, or "far", is expected: ${command}`,
  );
}

/**
 * @param timeoutMs longest time for `--on-discard`, and for `--on-run`
 * @returns undefined where none is given
 * @throws UsageError where one is missing
 */
export function destinationRestOf(
  { onAccept, onDiscard, onRun }: DestinationRestCommands,
  timeoutMs: number,
): DestinationRest | undefined {
  const given = [onAccept, onDiscard, onRun].filter((command) => command !== undefined);
  if (given.length === 0) return undefined;
  if (onAccept === undefined || onDiscard === undefined || onRun === undefined) {
    throw new UsageError('--on-accept, --on-discard and --on-run need each other');
  }
  return {
    accept: async (input, { signal, migrationId }) => {
      const variables = { KVM_HTAB_MIGRATION: migrationId };
      await runHook({ option: '--on-accept', command: onAccept, signal, variables, input });
    },
    discard: async () => {
      await runHook({ option: '--on-discard', command: onDiscard, timeoutMs });
    },
    run: async () => {
      await runHook({ option: '--on-run', command: onRun, timeoutMs });
    },
  };
}
