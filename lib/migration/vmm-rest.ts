import { checkPath } from '../base/arguments.js';
import { HtabUnavailableError } from '../base/errors.js';
import { quotedText } from '../base/foreign-text.js';
import { checkOptions, numbersOf } from '../base/options.js';
import { callVmm, type VmmAnswer, type VmmCall } from '../vm/kvm/vmm-call.js';
import { VMM_SOCKET_OPTIONS, type VmmSocketOptions } from '../vm/kvm/vmm-socket.js';
import { MAX_STATE_BYTES, type DestinationRest, type SourceRest } from './rest.js';

/**
 * Asks the VMM at a control socket whether it moves the rest of its guest (`rest-ms`, see {@link VmmSocket}).
 *
 * @param socketPath path of the VMM's Unix socket
 * @param options `timeoutMs`: longest time to connect, and for an answer to `rest-ms`. `finish` may take as long as the stop
 * @returns what `sendHpt` takes as `rest`; undefined if the VMM refuses, because it does not know the request
 * @throws HtabSystemError if the connection is refused, ETIMEDOUT if it takes too long
 * @throws HtabUnavailableError `refused` if no answer comes; `unsupported` if it is neither a refusal nor a time
 * @throws TypeError, RangeError for an invalid path or option
 *
 * @example
 * const rest = await requestSourceRest('/run/vmm/a.sock');
 * await sendHpt(await requestSource('/run/vmm/a.sock'), dial, { pause, resume, journal, rest });
 */
export async function requestSourceRest(
  socketPath: string,
  options: VmmSocketOptions = {},
): Promise<SourceRest | undefined> {
  const call = callsTo(socketPath, options);
  const stopMs = async (): Promise<number> => stopMsOf(socketPath, await call({ request: 'rest-ms' }));
  const finish: SourceRest['finish'] = async ({ signal }) =>
    (await call({ request: 'finish', signal, maxBytes: MAX_STATE_BYTES })).bytes;
  return (await unlessRefused(stopMs())) === undefined ? undefined : { stopMs, finish };
}

/**
 * Asks the VMM at a control socket whether it takes the rest of a guest (`can-accept`, see {@link VmmSocket}).
 *
 * @param socketPath path of the VMM's Unix socket
 * @param options `timeoutMs`: longest time to connect, and for an answer to `can-accept`, `discard` and `run`. `accept` may
 *   take as long as the source waits for it
 * @returns what `receiveHpt` takes as `rest`; undefined if the VMM refuses, because it does not know the request
 * @throws HtabSystemError if the connection is refused, ETIMEDOUT if it takes too long
 * @throws HtabUnavailableError `refused` if no answer comes
 * @throws TypeError, RangeError for an invalid path or option
 *
 * @example
 * const rest = await requestDestinationRest('/run/vmm/b.sock');
 * await receiveHpt(() => requestTarget('/run/vmm/b.sock'), listener, { migrationId, journal, rest });
 */
export async function requestDestinationRest(
  socketPath: string,
  options: VmmSocketOptions = {},
): Promise<DestinationRest | undefined> {
  const call = callsTo(socketPath, options);
  if ((await unlessRefused(call({ request: 'can-accept' }))) === undefined) return undefined;
  return {
    accept: async (state, { signal }) => {
      await call({ request: `accept ${state.length}`, body: state, signal });
    },
    discard: async () => {
      await call({ request: 'discard' });
    },
    run: async () => {
      await call({ request: 'run' });
    },
  };
}

function callsTo(
  socketPath: string,
  options: VmmSocketOptions,
): (call: Omit<VmmCall, 'timeoutMs'>) => Promise<VmmAnswer> {
  checkPath('socketPath', socketPath);
  checkOptions(options, VMM_SOCKET_OPTIONS);
  const { timeoutMs } = numbersOf(VMM_SOCKET_OPTIONS, options);
  return (call) => callVmm(socketPath, { ...call, timeoutMs });
}

/** What a VMM answers; undefined if it refuses. That it does not answer is a failure, which has a cause. */
async function unlessRefused<T>(answer: Promise<T>): Promise<T | undefined> {
  try {
    return await answer;
  } catch (error) {
    if (error instanceof HtabUnavailableError && error.reason === 'refused' && error.cause === undefined) {
      return undefined;
    }
    throw error;
  }
}

function stopMsOf(socketPath: string, { words }: VmmAnswer): number {
  const [word = ''] = words.split(' ', 1);
  if (word === 'far') return Infinity;
  if (/^\d+(\.\d+)?$/.test(word)) return Number(word);
  throw new HtabUnavailableError(
    'unsupported',
    `the VMM at ${socketPath} answers rest-ms with ${quotedText(`ok ${words}`.trimEnd())}; "ok MS" or "ok far" is expected`,
    'mend the VMM',
  );
}
