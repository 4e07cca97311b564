#ifndef KVM_HTAB_NATIVE_KVM_H_
#define KVM_HTAB_NATIVE_KVM_H_

// The KVM ioctls, one function each. Every one may block: none is for a JavaScript thread.

#include <cstddef>
#include <cstdint>

#include "kvm_abi.h"
#include "outcome.h"

namespace kvm_htab::sys {

// value: a close-on-exec descriptor of the device.
Outcome OpenKvm(const char* path);
Outcome GetApiVersion(int kvm);
// `fd` is the device's or a VM's; a VM answers for its own flavour (HV or PR).
Outcome CheckExtension(int fd, uint32_t capability);
// value: a close-on-exec VM descriptor.
Outcome CreateVm(int kvm, uint64_t type);
// EINVAL without asking the kernel where `order` is outside 18..46: the kernel frees the live
// table before it looks at the order, and order 0 without a table crashes it.
// value: the order that the kernel granted, which old kernels make smaller than `order`.
Outcome AllocateHtab(int vm, uint32_t order);
// value: a close-on-exec HTAB descriptor.
Outcome GetHtabFd(int vm, uint64_t flags, uint64_t start_index);
// value: milliseconds to wait before asking again, 0 when the new table is ready.
Outcome PrepareHptResize(int vm, uint32_t order);
Outcome CommitHptResize(int vm, uint32_t order);
// Fills `bytes` with a struct kvm_ppc_smmu_info; EINVAL where `length` is not its size.
// value: that size.
Outcome GetSmmuInfo(int vm, uint8_t* bytes, size_t length);
Outcome ConfigureV3Mmu(int vm, uint64_t flags, uint64_t process_table);

}  // namespace kvm_htab::sys

#endif  // KVM_HTAB_NATIVE_KVM_H_
