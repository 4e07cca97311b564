import { createRequire } from 'node:module';
import { endianness } from 'node:os';
import { join } from 'node:path';
import { HtabUnavailableError } from '../../errors.js';
import { packageRoot } from '../../node/package-root.js';
import type { CallResult, RecordsResult } from '../base.js';

/**
 * One kernel descriptor, owned by the addon: closed by `close()`, when the object is collected, and when its thread
 * ends. The number behind it never reaches JavaScript.
 */
export interface Descriptor {
  /** Waits for calls in flight, then closes; may be called once, and no call may follow. */
  close(): Promise<CallResult>;
}

/** How a call that gives a descriptor, or is made of several system calls, rejects. */
export interface SystemCallFailure extends Error {
  /** Positive, as errno is. */
  readonly errno: number;
  readonly syscall: string;
}

/** True for what a promise of the addon rejects with. */
export function isSystemCallFailure(value: unknown): value is SystemCallFailure {
  return value instanceof Error && 'errno' in value && 'syscall' in value;
}

/** {@link RecordsResult}, or where a record is cut: nothing has been written then. */
export interface CheckedRecordsResult extends RecordsResult {
  readonly cut?: { readonly byteOffset: number; readonly recordIndex: number };
}

/** What came with one message of a Unix socket. */
export interface Message {
  readonly descriptors: readonly Descriptor[];
  /** Its first 512 bytes. */
  readonly text: string;
}

/**
 * The functions of native/addon.cc. Each but `exitNow` makes its system call on a thread of the pool: one that gives a number
 * resolves whatever the kernel says, the others reject with a {@link SystemCallFailure}. A wrong argument or a closed
 * descriptor throws at once.
 *
 * Bytes go to the pool and come back in a copy, because JavaScript can have the memory of an array freed at any time
 * and Node-API cannot prevent it. Shared memory is refused.
 */
export interface Addon {
  openKvm(path: string): Promise<Descriptor>;
  getApiVersion(kvm: Descriptor): Promise<CallResult>;
  checkExtension(kvmOrVm: Descriptor, capability: number): Promise<CallResult>;
  createVm(kvm: Descriptor, type: number): Promise<Descriptor>;
  /** Refuses an order outside 18..46 with EINVAL without asking the kernel (kernel-abi.md 0, trap 5). */
  allocateHtab(vm: Descriptor, order: number): Promise<CallResult>;
  getHtabFd(vm: Descriptor, flags: number, startIndex: number): Promise<Descriptor>;
  prepareHptResize(vm: Descriptor, order: number): Promise<CallResult>;
  commitHptResize(vm: Descriptor, order: number): Promise<CallResult>;
  configureV3Mmu(vm: Descriptor, flags: number, processTable: bigint): Promise<CallResult>;
  /** Fills 592 bytes with a struct kvm_ppc_smmu_info, and gives their number. */
  getSmmuInfo(vm: Descriptor, bytes: Uint8Array): Promise<CallResult>;
  /** EFAULT where the buffer has become too short for what was read: its memory was transferred or resized. */
  read(descriptor: Descriptor, buffer: Uint8Array): Promise<CallResult>;
  write(descriptor: Descriptor, bytes: Uint8Array): Promise<CallResult>;
  /** One write(2) per record, in order, up to the first refusal; none if the last record is cut. */
  writeRecords(descriptor: Descriptor, bytes: Uint8Array): Promise<CheckedRecordsResult>;
  /** Takes over descriptor number `fd` of this process, or a duplicate of it. EBUSY where this thread has done so already. */
  adopt(fd: number, duplicate: boolean): Promise<Descriptor>;
  /** The same if /proc calls the open file `name`; else the name it has, with the number untouched. */
  adopt(fd: number, duplicate: boolean, name: string): Promise<Descriptor | string>;
  /** A second descriptor of the same open file. */
  duplicate(descriptor: Descriptor): Promise<Descriptor>;
  /** What /proc calls the open file, and its flags as open(2) has them. */
  inspectFile(descriptor: Descriptor): Promise<{ readonly name: string; readonly flags: number }>;
  /** A duplicate of a descriptor of another process: pidfd_open, pidfd_getfd. */
  takeDescriptor(pid: number, fd: number): Promise<Descriptor>;
  // Unix sockets. No call waits for the peer: EAGAIN says that it is not there yet.
  connect(path: string): Promise<Descriptor>;
  /** Only this user (and root) can connect to what listens at `path`, where nothing may be yet. */
  listen(path: string): Promise<Descriptor>;
  send(peer: Descriptor, bytes: Uint8Array): Promise<CallResult>;
  /** ENODATA where the peer has hung up, EMFILE where not all descriptors of the message could be taken. */
  receive(peer: Descriptor): Promise<Message>;
  /** Accepts one connection and sends it a duplicate of `descriptor`. */
  offer(listener: Descriptor, descriptor: Descriptor): Promise<void>;
  /** Ends the process, whatever its threads are at: nothing else is done first. */
  exitNow(code: number): never;
}

const PACKAGE = packageRoot();
const BUILD_HINT =
  `build it with "npx node-gyp rebuild -C native" in ${PACKAGE}, which needs a C++ compiler, make and Python ` +
  '(released packages contain it for linux-ppc64le and linux-x64); the emulated backend works without it';

let loaded: Addon | undefined;

/**
 * The addon, loaded at the first call.
 *
 * @throws HtabUnavailableError `platform`, `arch` or `endianness` where the addon has no place, `no-prebuild` where no
 *   binary is there, `dlopen` where there is one and it does not load (the loader's own error is the `cause`)
 */
export function loadAddon(): Addon {
  loaded ??= load();
  return loaded;
}

function load(): Addon {
  if (process.platform !== 'linux') {
    throw new HtabUnavailableError(
      'platform',
      `KVM is part of Linux; this is ${process.platform}`,
      'use the emulated backend',
    );
  }
  if (process.arch === 'ppc64' && endianness() === 'BE') {
    throw new HtabUnavailableError(
      'endianness',
      'the addon is for little-endian hosts; this one is big-endian',
      'run a ppc64le kernel and Node',
    );
  }
  if (process.arch !== 'ppc64' && process.arch !== 'x64') {
    throw new HtabUnavailableError(
      'arch',
      `the addon is for ppc64le (and x64, to be tested there); this is ${process.arch}`,
      'use the emulated backend',
    );
  }
  const require = createRequire(import.meta.url);
  const find = require('node-gyp-build') as { path(folder: string): string };
  let file: string;
  try {
    file = find.path(PACKAGE);
  } catch {
    // Built by the user, in the folder of its sources.
    try {
      file = find.path(join(PACKAGE, 'native'));
    } catch (cause) {
      throw new HtabUnavailableError('no-prebuild', 'the addon is not built', BUILD_HINT, { cause });
    }
  }
  try {
    return require(file) as Addon;
  } catch (cause) {
    throw new HtabUnavailableError('dlopen', `${file} does not load`, BUILD_HINT, { cause });
  }
}
