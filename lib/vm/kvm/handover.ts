import { constants } from 'node:fs';
import { HtabUnavailableError } from '../../errors.js';
import { type Addon, type Descriptor, loadAddon } from './addon.js';
import { attempt } from './failure.js';
import { DEFAULT_TIMEOUT_MS, KvmHandle, type PassingOptions } from './kvm-handle.js';

/** How a descriptor number of this process becomes a handle. */
export interface AdoptOptions {
  /** Keep a duplicate and leave the number to its owner. Default false: the number is ours, and closed with the handle. */
  readonly duplicate?: boolean;
}

/** A descriptor of another process. */
export interface ForeignDescriptor {
  readonly pid: number;
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
 * @throws HtabSystemError EBADF if it is not open
 */
export async function adoptHtab(fd: number, { duplicate = false }: AdoptOptions = {}): Promise<KvmHandle> {
  const addon = loadAddon();
  const { descriptor, flags } = await adoptFile(addon, fd, duplicate, 'kvm-htab');
  return new KvmHandle(addon, descriptor, accessOf(flags));
}

/**
 * A handle over a duplicate of an HTAB descriptor of another process, such as a VMM that knows nothing of us
 * (`pidfd_getfd`, Linux 5.6). Both share one cursor: the process must not read from it too.
 *
 * @throws HtabSystemError EPERM without the right to trace the process, ESRCH, EBADF
 */
export async function takeHtab({ pid, fd }: ForeignDescriptor): Promise<KvmHandle> {
  const addon = loadAddon();
  const call = addon.takeDescriptor(pid, fd);
  return toHandle(addon, await attempt(`take descriptor ${fd} of process ${pid}`, call));
}

/**
 * A handle over the HTAB descriptor that a VMM sends (SCM_RIGHTS): connects to its Unix socket and takes one message
 * with one descriptor.
 *
 * @throws HtabSystemError ETIMEDOUT, or what the socket call said
 * @throws HtabUnavailableError `unsupported` if what comes is not one HTAB descriptor
 */
export async function receiveHtab(socketPath: string, options: ReceiveOptions = {}): Promise<KvmHandle> {
  return (await requestHtab(socketPath, options)).handle;
}

/** {@link receiveHtab} from a peer whose message also says something, such as the table's order. */
export async function requestHtab(socketPath: string, options: ReceiveOptions = {}): Promise<ReceivedHtab> {
  const { request = '', timeoutMs = DEFAULT_TIMEOUT_MS } = options;
  const addon = loadAddon();
  const { descriptors, text } = await attempt(
    `receive an HTAB descriptor over ${socketPath}`,
    addon.receiveDescriptors(socketPath, request, timeoutMs),
  );
  const [descriptor, ...others] = descriptors;
  if (descriptor !== undefined && others.length === 0) {
    return { handle: await toHandle(addon, descriptor), text };
  }
  await Promise.all(descriptors.map((each) => each.close()));
  throw new HtabUnavailableError(
    'unsupported',
    `the message over ${socketPath} has ${descriptors.length} descriptors and says ${JSON.stringify(text)}`,
    'the peer must send one HTAB descriptor with its first message',
  );
}

async function toHandle(addon: Addon, descriptor: Descriptor): Promise<KvmHandle> {
  return new KvmHandle(addon, descriptor, accessOf(await checkFile(addon, descriptor, 'kvm-htab')));
}

/**
 * Takes over a descriptor number once it is known to be of the right kind; until then the number is not touched.
 *
 * @returns the descriptor, and its flags as open(2) has them
 */
export async function adoptFile(
  addon: Addon,
  fd: number,
  duplicate: boolean,
  kind: 'kvm-htab' | 'kvm-vm',
): Promise<{ readonly descriptor: Descriptor; readonly flags: number }> {
  const operation = `adopt descriptor ${fd}`;
  const descriptor = await attempt(operation, addon.adopt(fd, true));
  const flags = await checkFile(addon, descriptor, kind);
  // The duplicate stands for the open file; the number itself is closed.
  if (!duplicate) await (await attempt(operation, addon.adopt(fd, false))).close();
  return { descriptor, flags };
}

/** @returns the file's flags as open(2) has them. Closes the descriptor if it is of another kind */
async function checkFile(addon: Addon, descriptor: Descriptor, kind: string): Promise<number> {
  try {
    const { name, flags } = await attempt('look at a descriptor', addon.inspectFile(descriptor));
    if (name === `anon_inode:${kind}`) return flags;
    throw new HtabUnavailableError(
      'unsupported',
      `the descriptor is ${JSON.stringify(name)}, not "anon_inode:${kind}"`,
      kind === 'kvm-vm'
        ? 'KVM_CREATE_VM gives one'
        : 'KVM_PPC_GET_HTAB_FD gives one, in the process that created the VM',
    );
  } catch (error) {
    await descriptor.close();
    throw error;
  }
}

function accessOf(flags: number): 'read' | 'write' {
  return (flags & (constants.O_WRONLY | constants.O_RDWR)) === constants.O_WRONLY ? 'write' : 'read';
}
