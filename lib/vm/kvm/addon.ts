import { createRequire } from 'node:module';
import { endianness } from 'node:os';
import { join } from 'node:path';
import { HtabUnavailableError } from '../../base/errors.js';
import { packageRoot } from '../../base/package-root.js';

/**
 * One kernel descriptor, owned by the addon: closed by `close()`, when the object is collected, and when its thread
 * ends. The number behind it never reaches JavaScript.
 */
export interface Descriptor {
  /** Waits for calls in flight, then closes; may be called once, and no call may follow. */
  close(): Promise<void>;
}

/** Closes a descriptor that is no longer needed. An error of close(2) is ignored: the number is free in any case. */
export async function discard(descriptor: Descriptor): Promise<void> {
  await descriptor.close().catch(() => undefined);
}

/** What became of whole records that the kernel did not refuse. */
export interface RecordsResult {
  /** Bytes of the records applied, in order from the first. */
  readonly bytesApplied: number;
  readonly recordsApplied: number;
  /** The next record, if its write(2) took another length than the record's. */
  readonly partial?: { readonly ptex: number; readonly bytesTaken: number };
  /** The last record, if it is not all there: nothing has been written then. */
  readonly cut?: { readonly byteOffset: number; readonly recordIndex: number };
}

/** What came with one message of a Unix socket. */
export interface SocketMessage {
  readonly descriptors: readonly Descriptor[];
  /** Its first 512 bytes. */
  readonly text: string;
}

/**
 * The functions of native/addon.cc. Each but `allocate` and `exitNow` makes its system call on a thread of the pool, and rejects with a
 * `CallFailure` if the kernel refuses it. A wrong argument or a closed descriptor throws at once.
 *
 * Bytes go to the pool and come back in a copy, because JavaScript can have the memory of an array freed at any time
 * and Node-API cannot prevent it; memory of `allocate` needs none. Shared memory is refused.
 */
export interface Addon {
  openKvm(path: string): Promise<Descriptor>;
  getApiVersion(kvm: Descriptor): Promise<number>;
  checkExtension(kvmOrVm: Descriptor, capability: number): Promise<number>;
  createVm(kvm: Descriptor, type: number): Promise<Descriptor>;
  /**
   * The order that the kernel granted: old ones fall back to a smaller table (kernel-abi.md 10). Refuses an order outside
   * 18..46 with EINVAL without asking the kernel (kernel-abi.md 0, trap 5).
   */
  allocateHtab(vm: Descriptor, order: number): Promise<number>;
  getHtabFd(vm: Descriptor, flags: number, startIndex: number): Promise<Descriptor>;
  prepareHptResize(vm: Descriptor, order: number): Promise<number>;
  commitHptResize(vm: Descriptor, order: number): Promise<void>;
  configureV3Mmu(vm: Descriptor, flags: number, processTable: bigint): Promise<void>;
  /** Fills 592 bytes with a struct kvm_ppc_smmu_info, and gives their number. */
  getSmmuInfo(vm: Descriptor, bytes: Uint8Array): Promise<number>;
  /** Memory that `read` fills without a copy; undefined where there is none, or where the runtime has no such arrays (Electron). */
  allocate(bytes: number): Uint8Array | undefined;
  /** EFAULT where the buffer has become too short for what was read: its memory was transferred or resized. */
  read(descriptor: Descriptor, buffer: Uint8Array): Promise<number>;
  write(descriptor: Descriptor, bytes: Uint8Array): Promise<number>;
  /** One write(2) per record, in order; none if the last record is cut. A refusal rejects with the record's place. */
  writeRecords(descriptor: Descriptor, bytes: Uint8Array): Promise<RecordsResult>;
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
  /**
   * An HTAB descriptor of a VM of another process, which its thread `tid` opens under a tracer (native/README.md). A failure
   * names the ioctl, a request of ptrace, or `waitpid` (ECHILD) if the tracer was killed.
   *
   * @param fd number of the VM's descriptor in that process
   * @param hasSeccompFilter a filter judges the thread's system calls: it is suspended meanwhile, or the call refused
   */
  openHtabIn(
    pid: number,
    tid: number,
    fd: number,
    flags: number,
    startIndex: number,
    hasSeccompFilter: boolean,
  ): Promise<Descriptor>;
  // Unix sockets. No call waits for the peer: EAGAIN says that it is not there yet.
  connect(path: string): Promise<Descriptor>;
  /** Only this user (and root) can connect to what listens at `path`, where nothing may be yet. */
  listen(path: string): Promise<Descriptor>;
  send(peer: Descriptor, bytes: Uint8Array): Promise<number>;
  /** ENODATA where the peer has hung up, EMFILE where not all descriptors of the message could be taken. */
  receive(peer: Descriptor): Promise<SocketMessage>;
  /** Accepts one connection and sends it a duplicate of `descriptor`. */
  offer(listener: Descriptor, descriptor: Descriptor): Promise<void>;
  /** Ends the process at once, even while its threads are in system calls. */
  exitNow(code: number): never;
}

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
      `the addon runs on ppc64le (and on x64, for tests); this is ${process.arch}`,
      'use the emulated backend',
    );
  }
  const { folder, require } = installedPackage();
  const buildHint =
    `build it with "npx node-gyp rebuild -C native" in ${folder}, which needs a C++ compiler, make and Python ` +
    '(released packages contain it for linux-ppc64le and linux-x64); the emulated backend works without it';
  const find = require('node-gyp-build') as { path(folder: string): string };
  let file: string;
  try {
    file = find.path(folder);
  } catch {
    // Built by the user, in the folder of its sources.
    try {
      file = find.path(join(folder, 'native'));
    } catch (cause) {
      throw new HtabUnavailableError('no-prebuild', 'the addon is not built', buildHint, { cause });
    }
  }
  try {
    return require(file) as Addon;
  } catch (cause) {
    throw new HtabUnavailableError('dlopen', `${file} does not load`, buildHint, { cause });
  }
}

/** The folder of the installed package, which a bundled program may run without, and what loads from there. */
function installedPackage(): { folder: string; require: NodeJS.Require } {
  try {
    const folder = packageRoot();
    return { folder, require: createRequire(join(folder, 'package.json')) };
  } catch (cause) {
    throw new HtabUnavailableError(
      'no-prebuild',
      'the package kvm-htab, which contains the addon, is not installed where this program can find it',
      'mark kvm-htab as external in the bundler and install it beside the program; the emulated backend works without it',
      { cause },
    );
  }
}
