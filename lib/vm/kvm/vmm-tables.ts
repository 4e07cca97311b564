import { HtabStateError, HtabUnavailableError } from '../../base/errors.js';
import { checkOptions } from '../../base/options.js';
import { quotedText } from '../../base/foreign-text.js';
import { MAX_STREAM_ORDER, MIN_ORDER } from '../../hpt/geometry.js';
import { requestHtab } from './handover.js';
import type { KvmHandle } from './kvm-handle.js';
import { PASSING_OPTIONS, type PassingOptions } from './passing.js';

/** The table of a VMM's guest, opened for reading; `sendHpt` and `saveSnapshot` take it. */
export interface VmmSource {
  /** A fresh read descriptor. Close it, or give it to a function that does. */
  readonly handle: KvmHandle;
  /** log2 of the table's bytes, 18..36, as the VMM says. */
  readonly order: number;
  /**
   * Asks the VMM for another fresh read descriptor.
   *
   * @param startIndex ptex at which its first pass begins; 0 if the VMM refuses that
   * @throws HtabStateError `order-changed` if the VMM says another order than before
   */
  readonly reopen: (startIndex: number) => Promise<KvmHandle>;
}

/** The table of the VM that a guest moves to, opened for writing; `receiveHpt` and `loadSnapshot` take it. */
export interface VmmTarget {
  /** A write descriptor. Close it, or give it to a function that does. */
  readonly handle: KvmHandle;
  /** log2 of the table's bytes, 18..36, as the VMM says. */
  readonly order: number;
  /**
   * Asks the VMM for a read descriptor of the same table.
   *
   * @throws HtabStateError `order-changed` if the VMM says another order than before
   */
  readonly openRead: () => Promise<KvmHandle>;
}

/**
 * Asks the VMM at a control socket for the table of its guest (`open-read`, see {@link VmmSocket}).
 *
 * @param socketPath path of the VMM's Unix socket
 * @param options limits for this request and each later one; `timeoutMs` is 10,000 by default
 * @throws HtabSystemError if the connection fails, ETIMEDOUT if the VMM does not answer in time
 * @throws HtabUnavailableError `refused` if the VMM refuses; `unsupported` if its answer is not `ok ORDER` with one read
 *   descriptor, or there is no addon for this machine
 * @throws the signal's reason
 *
 * @example
 * const source = await requestSource('/run/vmm/a.sock');
 * await sendHpt(source, () => connect('tls://host-b:7000', tls), { pause: vmm.pause, resume: vmm.resume });
 */
export async function requestSource(socketPath: string, options: PassingOptions = {}): Promise<VmmSource> {
  const open = openAt(socketPath, options, 'read');
  const { handle, order } = await open('open-read');
  const reopen = async (startIndex: number): Promise<KvmHandle> => {
    if (startIndex === 0) return sameOrder(order, await open('open-read'));
    const opened = await open(`open-read ${startIndex}`).catch((error: unknown) => {
      // A VMM that does not know the longer request can still give the table from its first entry on.
      if (error instanceof HtabUnavailableError) return open('open-read');
      throw error;
    });
    return sameOrder(order, opened);
  };
  return { handle, order, reopen };
}

/**
 * Asks the VMM at a control socket for the table of the VM that a guest is to move to (`open-write`, see
 * {@link VmmSocket}).
 *
 * @param socketPath path of the VMM's Unix socket
 * @param options limits for this request and each later one; `timeoutMs` is 10,000 by default
 * @throws as {@link requestSource}
 *
 * @example
 * // The VMM is asked only once a source comes.
 * await receiveHpt(() => requestTarget('/run/vmm/b.sock'), listener, { journal });
 */
export async function requestTarget(socketPath: string, options: PassingOptions = {}): Promise<VmmTarget> {
  const { handle, order } = await openAt(socketPath, options, 'write')('open-write');
  const openRead = async (): Promise<KvmHandle> =>
    sameOrder(order, await openAt(socketPath, options, 'read')('open-read-next'));
  return { handle, order, openRead };
}

interface Opened {
  readonly handle: KvmHandle;
  readonly order: number;
}

/** What asks for descriptors of one kind. */
function openAt(
  socketPath: string,
  options: PassingOptions,
  access: KvmHandle['access'],
): (request: string) => Promise<Opened> {
  return async (request) => {
    checkOptions(options, PASSING_OPTIONS);
    const { handle, text } = await requestHtab(socketPath, { ...options, request: `${request}\n` });
    const order = Number(/^ok (\d\d)(?: [^\n]*)?\n$/.exec(text)?.[1] ?? Number.NaN);
    const isOrder = order >= MIN_ORDER && order <= MAX_STREAM_ORDER;
    if (isOrder && handle.access === access) return { handle, order };
    await handle.close();
    throw new HtabUnavailableError(
      'unsupported',
      `the VMM at ${socketPath} answers ${request} with ${quotedText(text)} and a ${handle.access} descriptor; ` +
        `"ok ORDER", ORDER being ${MIN_ORDER} to ${MAX_STREAM_ORDER}, and a ${access} descriptor are expected`,
      'mend the VMM',
    );
  };
}

async function sameOrder(order: number, opened: Opened): Promise<KvmHandle> {
  if (opened.order === order) return opened.handle;
  await opened.handle.close();
  throw new HtabStateError(
    'order-changed',
    `the VMM says that its table has order ${opened.order}, and said ${order} before: the guest was reset or its table ` +
      'resized; begin again with a new descriptor',
  );
}
