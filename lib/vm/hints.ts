const OTHER_PROCESS =
  'only the process that created a VM may make its ioctls: have that process open the HTAB descriptor and pass it on';
const NOT_HV = 'the VM is not a KVM-HV one: load the kvm-hv module on a POWER host';
const HUNG_UP = 'the peer has hung up';
const VCPU_RUNS = 'a vcpu is inside KVM_RUN: pause the guest first';

/** What usually stands behind a refusal, and what to do; by call, or `*`, and errno (kernel-abi.md 1.4, 4, 5). */
export const hints: Readonly<Record<string, string>> = {
  '* EMFILE': 'raise the limit of open files (ulimit -n), or close handles no longer needed',
  '* ENFILE': 'the whole machine has no open files left: raise fs.file-max',
  '* ENOMEM': 'the host, or the memory limit of this cgroup, has no memory left',
  'open ENOENT': 'load the kvm and kvm-hv modules',
  'open ENODEV': 'load the kvm-hv module: the device is there, its driver is not',
  'open EACCES': 'run as root or as a member of the group that owns the device (usually kvm)',
  'open EPERM': 'the container or its device policy denies the device: allow it, read and write',
  'KVM_GET_API_VERSION ENOTTY': 'this is not the device of KVM',
  'KVM_CREATE_VM EINVAL': 'this kernel has no VM of that type: load the kvm-hv module on a POWER host',
  'KVM_CREATE_VM ENOMEM': 'the host is out of memory or of logical partition ids: stop another VM',
  'KVM_PPC_GET_HTAB_FD EIO': OTHER_PROCESS,
  'KVM_PPC_GET_HTAB_FD ENOTTY': NOT_HV,
  'KVM_PPC_ALLOCATE_HTAB EIO': OTHER_PROCESS,
  'KVM_PPC_ALLOCATE_HTAB ENOTTY': NOT_HV,
  'KVM_PPC_ALLOCATE_HTAB EBUSY': `${VCPU_RUNS}; the table is unchanged`,
  'KVM_PPC_ALLOCATE_HTAB ENOMEM':
    'the VM has no table any more: ask for a smaller order, or reserve more memory (kvm_cma_resv_ratio)',
  'KVM_PPC_ALLOCATE_HTAB EOPNOTSUPP': 'this host is itself a guest: hash guests need a bare-metal host',
  'KVM_PPC_RESIZE_HPT_PREPARE EIO': OTHER_PROCESS,
  'KVM_PPC_RESIZE_HPT_PREPARE ENOTTY': NOT_HV,
  'KVM_PPC_RESIZE_HPT_PREPARE EINVAL': 'the order must be 18..46 (or 0 to cancel) and the guest a hash one',
  'KVM_PPC_RESIZE_HPT_PREPARE ENOMEM': 'ask for a smaller order, or reserve more memory (kvm_cma_resv_ratio)',
  'KVM_PPC_RESIZE_HPT_COMMIT EIO':
    "the MMU is not set up before the guest has run or a VRMA entry was written, or the VM is another process's",
  'KVM_PPC_RESIZE_HPT_COMMIT ENOTTY': NOT_HV,
  'KVM_PPC_RESIZE_HPT_COMMIT EINVAL': 'the order must be 18..46 and the guest a hash one',
  'KVM_PPC_RESIZE_HPT_COMMIT ENXIO':
    'no table of this order is prepared: prepare first; what was prepared is gone',
  'KVM_PPC_RESIZE_HPT_COMMIT EBUSY': 'the table is still being prepared: prepare again until it answers 0',
  'KVM_PPC_RESIZE_HPT_COMMIT ENOSPC':
    'two bolted entries meet in one slot of the smaller table; the old table is kept, what was prepared is gone',
  'KVM_PPC_CONFIGURE_V3_MMU ENODEV': 'radix exists since POWER9',
  'KVM_PPC_CONFIGURE_V3_MMU EINVAL': 'this host cannot run such a guest (a hash host has no radix guests)',
  'KVM_PPC_CONFIGURE_V3_MMU EBUSY': VCPU_RUNS,
  'KVM_PPC_CONFIGURE_V3_MMU EIO': OTHER_PROCESS,
  'KVM_PPC_CONFIGURE_V3_MMU ENOTTY': NOT_HV,
  'KVM_CHECK_EXTENSION EIO': OTHER_PROCESS,
  'KVM_PPC_GET_SMMU_INFO EIO': OTHER_PROCESS,
  'KVM_PPC_GET_SMMU_INFO ENOTTY': 'only the KVM of POWER hosts tells the page sizes of hashed guests',
  'read EBADF': 'the handle was opened for writing',
  'read EFAULT':
    'the memory was not there any more (transferred away, or shrunk): the changes this read consumed are lost, a new first pass is needed',
  'write EBADF': 'the handle was opened for reading',
  'write EBUSY': VCPU_RUNS,
  'write EINVAL':
    'one write takes one record (writeRecords takes more), the guest is a radix one, there is no table, the range ends beyond it, or an entry lacks V or has a page-size code that no kernel accepts',
  'write EIO':
    'the kernel could not enter an entry (segment size code, or a page larger than the memory behind it); the entry that stood there is gone',
  'fcntl EBADF': 'no such descriptor is open in this process',
  'fcntl EBUSY': 'this number has been adopted already: use that handle, or adopt a duplicate',
  'readlink ENOENT': '/proc is not mounted here: only there does a descriptor say what it is',
  'pidfd_open ESRCH': 'no process has this pid',
  'pidfd_open EINVAL': "the pid is not a process's: a thread has descriptors under its process's pid only",
  'pidfd_open ENOSYS': 'pidfd_getfd needs Linux 5.6: have the VMM send the descriptor over a Unix socket',
  'pidfd_getfd EPERM':
    'taking a descriptor needs the right to trace the process: run as root (CAP_SYS_PTRACE); if root may not either, ' +
    'Yama forbids it (kernel.yama.ptrace_scope is 3), or a seccomp filter or container withholds the call or the ' +
    'capability: have the VMM send the descriptor over a Unix socket',
  'pidfd_getfd ESRCH': 'the process has ended',
  'pidfd_getfd EBADF': 'no such descriptor is open in that process',
  'pidfd_getfd ENOSYS': 'pidfd_getfd needs Linux 5.6: have the VMM send the descriptor over a Unix socket',
  'connect ENOENT': 'nothing listens at this path',
  'connect ECONNREFUSED': 'the socket is there and nobody listens on it any more',
  'connect EACCES': 'the socket belongs to another user',
  'connect ENAMETOOLONG': 'a socket path has at most 107 bytes',
  'connect ETIMEDOUT': 'the listener took no connection in time: as many as it lets wait are waiting',
  'send EPIPE': HUNG_UP,
  'send ECONNRESET': HUNG_UP,
  'send ETIMEDOUT': 'the peer did not take the request in time',
  'recvmsg ECONNRESET': 'the peer closed the connection without reading the request',
  'recvmsg EMFILE':
    'not every descriptor of the message arrived: raise the limit of open files (ulimit -n); a security module (SELinux, AppArmor) may withhold them; the peer must send one, and no more than 16',
  'recvmsg ENODATA': 'the peer closed the connection without sending anything',
  'recvmsg ETIMEDOUT': 'the peer sent nothing in time',
  'accept4 ETIMEDOUT': 'nobody connected in time',
  'sendmsg EPIPE': HUNG_UP,
  'sendmsg ECONNRESET': HUNG_UP,
  'bind EADDRINUSE': 'something is at this path already: remove it, or choose another',
  'bind ENOENT': 'the folder of this path does not exist',
  'bind EACCES': 'this user may not make a socket in the folder of this path',
  'bind ENAMETOOLONG': 'a socket path has at most 107 bytes',
};

/**
 * The likely cause of a refusal and what to do about it.
 *
 * @param syscall the call's name, or the ioctl request's
 */
export function hintFor(syscall: string, errnoName: string): string | undefined {
  return hints[`${syscall} ${errnoName}`] ?? hints[`* ${errnoName}`];
}
