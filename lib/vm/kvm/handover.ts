import { constants } from 'node:fs';
import { checkInteger, checkObject, checkOptions, checkString } from '../../arguments.js';
import { HtabUnavailableError } from '../../errors.js';
import { type Addon, type Descriptor, loadAddon } from './addon.js';
import { attempt } from './failure.js';
import { KvmHandle } from './kvm-handle.js';
import { type PassingOptions, receiveMessage } from './passing.js';

/** What /proc calls an HTAB descriptor, and a VM's. */
const HTAB = 'anon_inode:kvm-htab';
export const VM = 'anon_inode:kvm-vm';

/** Largest number of a descriptor or a process. */
const INT_MAX = 2 ** 31 - 1;

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
export interface ReceiveOptions extends PassingOptions {
  /** Sent once connected, for peers that want to be asked: `open-read\n`, say. Default nothing. */
  readonly request?: string;
}

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
 * @param fd its number. The handle closes it; using the number after that hits whatever file got it next
 * @throws HtabUnavailableError `unsupported` if it is something else; the number stays its owner's then
 * @throws HtabSystemError EBADF if it is not open, EBUSY if it has been adopted already
 */
export async function adoptHtab(fd: number, options: AdoptOptions = {}): Promise<KvmHandle> {
  checkObject('options', options);
  const { duplicate = false } = options;
  const addon = loadAddon();
  return toHandle(addon, await adoptFile(addon, fd, duplicate, HTAB));
}

/**
 * A handle over a duplicate of an HTAB descriptor of another process, such as a VMM that knows nothing of us
 * (`pidfd_getfd`, Linux 5.6). Both share one cursor: the process must not read from it too.
 *
 * @throws HtabSystemError EPERM without the right to trace the process, ESRCH, EBADF
 */
export async function takeHtab(descriptor: ForeignDescriptor): Promise<KvmHandle> {
  checkObject('descriptor', descriptor);
  const { pid, fd } = descriptor;
  checkInteger('pid', pid, 1, INT_MAX);
  checkInteger('fd', fd, 0, INT_MAX);
  const addon = loadAddon();
  const call = addon.takeDescriptor(pid, fd);
  return toHandle(addon, await attempt(`take descriptor ${fd} of process ${pid}`, call));
}

/**
 * A handle over the HTAB descriptor that a VMM sends (SCM_RIGHTS): connects to its Unix socket and takes one message
 * with one descriptor.
 *
 * @throws HtabSystemError ETIMEDOUT, or what the socket call said
 * @throws the signal's reason
 * @throws HtabUnavailableError `unsupported` if what comes is not one HTAB descriptor; `refused` if it is a text other than
 *   `ok` in answer to a request
 */
export async function receiveHtab(socketPath: string, options: ReceiveOptions = {}): Promise<KvmHandle> {
  return (await requestHtab(socketPath, options)).handle;
}

/** {@link receiveHtab} from a peer whose message also says something, such as the table's order. */
export async function requestHtab(socketPath: string, options: ReceiveOptions = {}): Promise<ReceivedHtab> {
  checkOptions(options);
  const { request = '', ...passing } = options;
  checkString('options.request', request);
  const addon = loadAddon();
  const { descriptors, text } = await receiveMessage(addon, socketPath, request, passing);
  const [descriptor, ...others] = descriptors;
  if (descriptor !== undefined && others.length === 0) {
    return { handle: await toHandle(addon, descriptor), text };
  }
  for (const each of descriptors) discard(each);
  if (request !== '' && descriptors.length === 0 && /^(?!ok\b)./.test(text)) {
    throw new HtabUnavailableError(
      'refused',
      `the VMM at ${socketPath} refused ${request.trim()}: ${JSON.stringify(text.trim())}`,
      'ask whoever runs it',
    );
  }
  throw new HtabUnavailableError(
    'unsupported',
    `the message over ${socketPath} has ${descriptors.length} descriptors and says ${JSON.stringify(text)}`,
    'the peer must send one HTAB descriptor with its first message',
  );
}

/** A handle over a descriptor that may be anything; unless it is an HTAB, it is closed. */
async function toHandle(addon: Addon, descriptor: Descriptor): Promise<KvmHandle> {
  try {
    const { name, flags } = await attempt('look at a descriptor', addon.inspectFile(descriptor));
    if (name !== HTAB) throw ofAnotherKind(name, HTAB);
    return new KvmHandle(addon, descriptor, accessOf(flags));
  } catch (error) {
    discard(descriptor);
    throw error;
  }
}

/** Not waited for: how long the close of a stranger's file takes is the stranger's choice. */
function discard(descriptor: Descriptor): void {
  void descriptor.close();
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
  const adopted = await attempt(`adopt descriptor ${fd}`, addon.adopt(fd, duplicate, kind));
  if (typeof adopted === 'string') throw ofAnotherKind(adopted, kind);
  return adopted;
}

function ofAnotherKind(name: string, wanted: typeof HTAB | typeof VM): HtabUnavailableError {
  return new HtabUnavailableError(
    'unsupported',
    `the descriptor is ${JSON.stringify(name)}, not "${wanted}"`,
    wanted === VM
      ? 'KVM_CREATE_VM gives one'
      : 'KVM_PPC_GET_HTAB_FD gives one, in the process that created the VM',
  );
}

function accessOf(flags: number): 'read' | 'write' {
  return (flags & (constants.O_WRONLY | constants.O_RDWR)) === constants.O_WRONLY ? 'write' : 'read';
}
