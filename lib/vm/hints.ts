const OTHER_PROCESS =
  'only the process that created a VM may make its ioctls: have that process open the HTAB descriptor and pass it on';
const NOT_HV = 'the VM is not a KVM-HV one: load the kvm-hv module on a POWER host';
const HUNG_UP = 'the peer closed the connection; look for the reason in its log';
const VCPU_RUNS = 'a vcpu is inside KVM_RUN: pause the guest first';

const LEFT_THERE =
  'the thread did not come back to a system call: the process keeps an HTAB descriptor open (look in its /proc/PID/fd), which --pid and --pid-fd can read';

/** The usual cause of a refusal, and what to do; by call, or `*`, and errno (kernel-abi.md 1.4, 4, 5). */
export const hints: Readonly<Record<string, string>> = {
  '* EMFILE': 'raise the limit of open files (ulimit -n), or close handles no longer needed',
  '* ENFILE': 'the whole machine has reached its limit of open files: raise fs.file-max',
  '* ENOMEM': 'the host is out of memory, or this cgroup has reached its memory limit',
  'open ENOENT': 'load the kvm and kvm-hv modules',
  'open ENODEV': 'load the kvm-hv module: the device exists, but not its driver',
  'open EACCES': 'run as root or as a member of the group that owns the device (usually kvm)',
  'open EPERM': 'the container or its device policy denies the device: allow it, read and write',
  'KVM_GET_API_VERSION ENOTTY': 'this is not a KVM device',
  'KVM_CREATE_VM EINVAL': 'this kernel has no VM of that type: load the kvm-hv module on a POWER host',
  'KVM_CREATE_VM ENOMEM': 'the host is out of memory or of logical partition ids: stop another VM',
  'KVM_PPC_GET_HTAB_FD EIO': OTHER_PROCESS,
  'KVM_PPC_GET_HTAB_FD ENOTTY': NOT_HV,
  'KVM_PPC_ALLOCATE_HTAB EIO': OTHER_PROCESS,
  'KVM_PPC_ALLOCATE_HTAB ENOTTY': NOT_HV,
  'KVM_PPC_ALLOCATE_HTAB EBUSY': `${VCPU_RUNS}; the table is unchanged`,
  'KVM_PPC_ALLOCATE_HTAB ENOMEM':
    'the VM has lost its table: allocate a smaller order, or reserve more memory (kvm_cma_resv_ratio)',
  'KVM_PPC_ALLOCATE_HTAB EOPNOTSUPP':
    'this host is itself a guest: hash guests need a bare-metal (PowerNV) host',
  'KVM_PPC_RESIZE_HPT_PREPARE EIO': OTHER_PROCESS,
  'KVM_PPC_RESIZE_HPT_PREPARE ENOTTY': NOT_HV,
  'KVM_PPC_RESIZE_HPT_PREPARE EINVAL':
    'the order must be 18..46 (or 0 to cancel), and the guest a hash guest',
  'KVM_PPC_RESIZE_HPT_PREPARE ENOMEM': 'use a smaller order, or reserve more memory (kvm_cma_resv_ratio)',
  'KVM_PPC_RESIZE_HPT_COMMIT EIO':
    'let the guest run once, or write its VRMA entry: without that its MMU is not set up; or have the process that created the VM make the call',
  'KVM_PPC_RESIZE_HPT_COMMIT ENOTTY': NOT_HV,
  'KVM_PPC_RESIZE_HPT_COMMIT EINVAL': 'the order must be 18..46, and the guest a hash guest',
  'KVM_PPC_RESIZE_HPT_COMMIT ENXIO':
    'no table of this order is prepared: prepare one first. A table of another order is discarded',
  'KVM_PPC_RESIZE_HPT_COMMIT EBUSY':
    'the table is still being prepared: call prepare again until it returns 0',
  'KVM_PPC_RESIZE_HPT_COMMIT ENOSPC':
    'two bolted entries need the same slot of the smaller table: use a larger order. The old table is kept, the prepared one discarded',
  'KVM_PPC_CONFIGURE_V3_MMU ENODEV': 'radix guests need POWER9 or later: use a hash guest',
  'KVM_PPC_CONFIGURE_V3_MMU EINVAL': 'this host has a hash MMU, which runs hash guests only',
  'KVM_PPC_CONFIGURE_V3_MMU EBUSY': VCPU_RUNS,
  'KVM_PPC_CONFIGURE_V3_MMU EIO': OTHER_PROCESS,
  'KVM_PPC_CONFIGURE_V3_MMU ENOTTY': NOT_HV,
  'KVM_CHECK_EXTENSION EIO': OTHER_PROCESS,
  'KVM_PPC_GET_SMMU_INFO EIO': OTHER_PROCESS,
  'KVM_PPC_GET_SMMU_INFO ENOTTY':
    'only KVM on a POWER host knows the page sizes of hash guests: check that this is one',
  'read EBADF': 'the handle was opened for writing',
  'read EFAULT':
    'the buffer was transferred away or shrunk: the changes of this read are lost, and a new first pass is needed',
  'write EBADF': 'the handle was opened for reading',
  'write EBUSY': VCPU_RUNS,
  'write EINVAL':
    'a write takes exactly one whole record: use writeRecords for several; or the record itself is invalid',
  'writeRecords EINVAL':
    'the record ends beyond the table, or an entry lacks V or has an unknown page-size code; a radix guest has no table',
  'write EIO':
    'the kernel could not enter an entry: check that host pages are as large as the page it maps, and its segment size code. The old entry in its slot is removed',
  'fcntl EBADF': 'no such descriptor is open in this process: check the number, and that it was inherited',
  'fcntl EBUSY': 'this number is adopted already: use that handle, or adopt a duplicate',
  'readlink ENOENT': 'mount /proc: it tells what a descriptor is',
  'pidfd_open ESRCH': 'no process has this pid: check it, and that both processes are in one pid namespace',
  'pidfd_open EINVAL': 'this is the id of a thread: use the pid of its process',
  'pidfd_open ENOSYS': 'pidfd_getfd needs Linux 5.6: have the VMM send the descriptor over a Unix socket',
  'pidfd_getfd EPERM':
    'run as root (CAP_SYS_PTRACE): taking a descriptor needs the right to trace the process. If root is refused too, Yama ' +
    '(kernel.yama.ptrace_scope 3), a seccomp filter or the container forbids it: have the VMM send the descriptor over a ' +
    'Unix socket',
  'pidfd_getfd ESRCH': 'the process has ended: start it again, or check the pid',
  'pidfd_getfd EBADF': 'no such descriptor is open in that process: check the number',
  'pidfd_getfd ENOSYS': 'pidfd_getfd needs Linux 5.6: have the VMM send the descriptor over a Unix socket',
  'waitpid ECHILD':
    'the tracer was killed. The process goes on; it may keep an HTAB descriptor open (look in its /proc/PID/fd), which --pid and --pid-fd can read',
  'PTRACE_SYSCALL ESRCH': 'the thread has ended: check that the VMM is still running',
  'close EAGAIN': LEFT_THERE,
  'close ETIMEDOUT': LEFT_THERE,
  'clone EAGAIN': 'the limit of processes is reached (ulimit -u, or pids.max of the cgroup): raise it',
  'clone EPERM': 'a seccomp filter of this process forbids it to make a child: allow clone',
  'connect ENOENT': 'there is no socket at this path: check the path, and that the VMM is running',
  'connect ECONNREFUSED': 'the socket exists, but no process listens on it: check that the VMM is running',
  'connect EACCES': 'this user may not connect: run as the user that owns the socket, or join its group',
  'connect ENAMETOOLONG': 'a socket path has at most 107 bytes: use a shorter one',
  'connect ETIMEDOUT': 'the listener accepted no connection in time: check that it is not hung',
  'send EPIPE': HUNG_UP,
  'send ECONNRESET': HUNG_UP,
  'send ETIMEDOUT': 'the peer did not take the request in time: check that it is not hung',
  'recvmsg ECONNRESET':
    'the peer closed the connection without reading the request; look for the reason in its log',
  'recvmsg EMFILE':
    'not every descriptor of the message arrived: raise the limit of open files (ulimit -n), or check the security module (SELinux, AppArmor); the peer must send at most 16',
  'recvmsg ENODATA':
    'the peer closed the connection without sending anything; look for the reason in its log',
  'recvmsg ETIMEDOUT': 'the peer sent nothing in time: check that it is not hung',
  'accept4 ETIMEDOUT': 'no peer connected in time: check that it uses this path',
  'sendmsg EPIPE': HUNG_UP,
  'sendmsg ECONNRESET': HUNG_UP,
  'bind EADDRINUSE': 'this path exists already: remove it, or use another one',
  'bind ENOENT': 'the folder of this path does not exist: create it, or use another path',
  'bind EACCES': 'this user may not create a socket in this folder: allow it, or use another path',
  'bind ENAMETOOLONG': 'a socket path has at most 107 bytes: use a shorter one',
};

/**
 * The likely cause of a refusal and what to do about it.
 *
 * @param syscall the call's name, or the ioctl request's
 * @param recordIndex known of the calls that `writeRecords` makes, which have one record each
 */
export function hintFor(syscall: string, errnoName: string, recordIndex?: number): string | undefined {
  const ofRecords = recordIndex === undefined ? undefined : hints[`${syscall}Records ${errnoName}`];
  return ofRecords ?? hints[`${syscall} ${errnoName}`] ?? hints[`* ${errnoName}`];
}
