#include "kvm.h"

#include <fcntl.h>
#include <sys/ioctl.h>

namespace kvm_htab::sys {
namespace {

constexpr uint32_t kMinOrder = 18;
constexpr uint32_t kMaxOrder = 46;

}  // namespace

Outcome OpenKvm(const char* path) { return OutcomeOf("open", open(path, O_RDWR | O_CLOEXEC)); }

// SAFETY (all below): every request number is the one of the structure or the integer passed with
// it (checked by the assertions of kvm_abi.h), and every structure outlives its call.

Outcome GetApiVersion(int kvm) {
  return OutcomeOf("KVM_GET_API_VERSION", ioctl(kvm, kGetApiVersion, 0UL));
}

Outcome CheckExtension(int fd, uint32_t capability) {
  return OutcomeOf("KVM_CHECK_EXTENSION",
                   ioctl(fd, kCheckExtension, static_cast<unsigned long>(capability)));
}

Outcome CreateVm(int kvm, uint64_t type) {
  Outcome outcome;
  // A signal that arrives while the kernel takes the locks of the whole address space ends this
  // call, and this one only, with EINTR and nothing done.
  do {
    outcome = OutcomeOf("KVM_CREATE_VM", ioctl(kvm, kCreateVm, static_cast<unsigned long>(type)));
  } while (outcome.error == EINTR);
  return outcome;
}

Outcome AllocateHtab(int vm, uint32_t order) {
  if (order < kMinOrder || order > kMaxOrder) return {0, EINVAL, "KVM_PPC_ALLOCATE_HTAB"};
  return OutcomeOf("KVM_PPC_ALLOCATE_HTAB", ioctl(vm, kAllocateHtab, &order));
}

Outcome GetHtabFd(int vm, uint64_t flags, uint64_t start_index) {
  GetHtabFdRequest request = {flags, start_index, {0, 0}};
  return OutcomeOf("KVM_PPC_GET_HTAB_FD", ioctl(vm, kGetHtabFd, &request));
}

Outcome PrepareHptResize(int vm, uint32_t order) {
  ResizeHptRequest request = {0, order, 0};
  return OutcomeOf("KVM_PPC_RESIZE_HPT_PREPARE", ioctl(vm, kResizeHptPrepare, &request));
}

Outcome CommitHptResize(int vm, uint32_t order) {
  ResizeHptRequest request = {0, order, 0};
  return OutcomeOf("KVM_PPC_RESIZE_HPT_COMMIT", ioctl(vm, kResizeHptCommit, &request));
}

Outcome GetSmmuInfo(int vm, uint8_t* bytes, size_t length) {
  if (length != kSmmuInfoBytes) return {0, EINVAL, "KVM_PPC_GET_SMMU_INFO"};
  const Outcome outcome = OutcomeOf("KVM_PPC_GET_SMMU_INFO", ioctl(vm, kGetSmmuInfo, bytes));
  return outcome.error != 0 ? outcome : Outcome{kSmmuInfoBytes, 0, outcome.call};
}

Outcome ConfigureV3Mmu(int vm, uint64_t flags, uint64_t process_table) {
  ConfigureV3MmuRequest request = {flags, process_table};
  return OutcomeOf("KVM_PPC_CONFIGURE_V3_MMU", ioctl(vm, kConfigureV3Mmu, &request));
}

}  // namespace kvm_htab::sys
