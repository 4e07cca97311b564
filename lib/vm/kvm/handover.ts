import { constants } from 'node:fs';
import { INT_MAX, checkInteger, checkObject, checkString } from '../../base/arguments.js';
import { HtabUnavailableError } from '../../base/errors.js';
import { quotedText } from '../../base/foreign-text.js';
import { checkOptions, type OptionTable } from '../../base/options.js';
import { attempt } from '../call-result.js';
import { type Addon, type Descriptor, discard, loadAddon } from './addon.js';
import { KvmHandle } from './kvm-handle.js';
import { PASSING_OPTIONS, type PassingOptions, receiveMessage } from './passing.js';

/** What /proc calls an HTAB descriptor, and a VM's. */
export const HTAB = 'anon_inode:kvm-htab';
export const VM = 'anon_inode:kvm-vm';

/** How a descriptor number of this process becomes a handle. */
export interface AdoptOptions {
  /** Keep a duplicate and leave the number to its owner. Default false: the number is ours, and closed with the handle. */
  readonly duplicate?: boolean;
}

/** A descriptor of another process. */
export interface ForeignDescriptor {
  /** Number of the process, 1..2^31 - 1. */
  readonly pid: number;
  /** Number of the descriptor in it, 0..2^31 - 1. */
  readonly fd: number;
}

/** How {@link receiveHtab} asks for a descriptor. */
export interface ReceiveHtabOptions extends PassingOptions {
  /** Sent once connected, for peers that want to be asked: `open-read\n`, say. Default nothing. */
  readonly request?: string;
}

const RECEIVE_OPTIONS = {
  ...PASSING_OPTIONS,
  request: { doc: 'sent once connected' },
} as const satisfies OptionTable<ReceiveHtabOptions>;

/** A handle, and what the message it came with says. */
export interface ReceivedHtab {
  readonly handle: KvmHandle;
  /** At most 512 bytes; `ok 24\n`, say. */
  readonly text: string;
}

/**
 * A handle over an HTAB descriptor that is open in this process: inherited, or opened by another library. What the
 * descriptor is (an HTAB, for reading or for writing) is asked of the kernel; the table's order it does not tell.
 *
 * @param fd its number. The handle closes it; a later use of the number reaches the file that has it by then
 * @throws HtabUnavailableError `unsupported` if it is something else; the number stays its owner's then
 * @throws HtabSystemError EBADF if it is not open, EBUSY if it has been adopted already
 *
 * @example
 * await using handle = await adoptHtab(3);
 */
export async function adoptHtab(fd: number, options: AdoptOptions = {}): Promise<KvmHandle> {
  checkOptions(options, { duplicate: true });
  const { duplicate = false } = options;
  const addon = loadAddon();
  return toHandle(addon, await adoptFile(addon, fd, duplicate, HTAB));
}

/**
 * A handle over a duplicate of an HTAB descriptor of another process, such as a VMM that knows nothing of us
 * (`pidfd_getfd`, Linux 5.6). Both share one cursor: the process must not read from it too.
 *
 * @throws HtabSystemError EPERM without the right to trace the process, ESRCH, EBADF
 *
 * @example
 * await using handle = await takeHtab({ pid: 4242, fd: 17 });
 */
export async function takeHtab(descriptor: ForeignDescriptor): Promise<KvmHandle> {
  checkObject('descriptor', descriptor);
  const { pid, fd } = descriptor;
  checkInteger('pid', pid, 1, INT_MAX);
  checkInteger('fd', fd, 0, INT_MAX);
  const addon = loadAddon();
  const operation = `take descriptor ${fd} of process ${pid}`;
  return toHandle(addon, await attempt(operation, () => addon.takeDescriptor(pid, fd)));
}

/**
 * A handle over the HTAB descriptor that a VMM sends (SCM_RIGHTS): connects to its Unix socket and takes one message
 * with one descriptor.
 *
 * @throws HtabSystemError ETIMEDOUT, or what the socket call said
 * @throws the signal's reason
 * @throws HtabUnavailableError `unsupported` if what comes is not one HTAB descriptor; `refused` if it is a text other than
 *   `ok` in answer to a request
 *
 * @example
 * await using handle = await receiveHtab('/run/vmm/a.sock', { request: 'open-read\n' });
 */
export async function receiveHtab(socketPath: string, options: ReceiveHtabOptions = {}): Promise<KvmHandle> {
  return (await requestHtab(socketPath, options)).handle;
}

/**
 * {@link receiveHtab} from a peer whose message also says something, such as the table's order.
 *
 * @example
 * const { handle, text } = await requestHtab('/run/vmm/a.sock', { request: 'open-read\n' }); // text: 'ok 24\n'
 */
export async function requestHtab(
  socketPath: string,
  options: ReceiveHtabOptions = {},
): Promise<ReceivedHtab> {
  checkOptions(options, RECEIVE_OPTIONS);
  const { request = '', ...passing } = options;
  checkString('options.request', request);
  const addon = loadAddon();
  const { descriptors, text } = await receiveMessage(addon, socketPath, request, passing);
  const [descriptor, ...others] = descriptors;
  if (descriptor !== undefined && others.length === 0) {
    return { handle: await toHandle(addon, descriptor), text };
  }
  // Not waited for: a peer can send a file whose close takes for ever.
  for (const each of descriptors) void discard(each);
  if (request !== '' && descriptors.length === 0 && /^(?!ok\b)./.test(text)) {
    throw new HtabUnavailableError(
      'refused',
      `the VMM at ${socketPath} refused ${request.trim()}: ${quotedText(text.trim())}`,
      'ask the operator of the VMM',
    );
  }
  throw new HtabUnavailableError(
    'unsupported',
    `the message over ${socketPath} has ${descriptors.length} descriptors and says ${quotedText(text)}`,
    'the peer must send one HTAB descriptor with its first message',
  );
}

/**
 * A handle over a descriptor that may be anything; unless it is an HTAB, it is closed.
 *
 * @param make makes the handle, if it is of a kind of its own
 */
export async function toHandle(
  addon: Addon,
  descriptor: Descriptor,
  make = (access: KvmHandle['access']): KvmHandle => new KvmHandle(addon, descriptor, access),
): Promise<KvmHandle> {
  try {
    const { name, flags } = await attempt('look at a descriptor', () => addon.inspectFile(descriptor));
    if (name !== HTAB) throw wrongKindError(name, HTAB);
    return make(accessOf(flags));
  } catch (error) {
    void discard(descriptor);
    throw error;
  }
}

/**
 * Takes over a descriptor number of this process, or a duplicate of it, if it is of the right kind; otherwise the
 * number is not touched.
 */
export async function adoptFile(
  addon: Addon,
  fd: number,
  duplicate: boolean,
  kind: typeof HTAB | typeof VM,
): Promise<Descriptor> {
  checkInteger('fd', fd, 0, INT_MAX);
  const adopted = await attempt(`adopt descriptor ${fd}`, () => addon.adopt(fd, duplicate, kind));
  if (typeof adopted === 'string') throw wrongKindError(adopted, kind);
  return adopted;
}

function wrongKindError(name: string, wanted: typeof HTAB | typeof VM): HtabUnavailableError {
  return new HtabUnavailableError(
    'unsupported',
    `the descriptor is ${quotedText(name)}, not "${wanted}"`,
    wanted === VM
      ? 'KVM_CREATE_VM gives one'
      : 'KVM_PPC_GET_HTAB_FD gives one, in the process that created the VM',
  );
}

function accessOf(flags: number): 'read' | 'write' {
  return (flags & (constants.O_WRONLY | constants.O_RDWR)) === constants.O_WRONLY ? 'write' : 'read';
}
