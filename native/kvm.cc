#include "kvm.h"

#include <fcntl.h>
#include <sys/ioctl.h>

namespace kvm_htab::sys {
namespace {

constexpr uint32_t kMinOrder = 18;
constexpr uint32_t kMaxOrder = 46;

// SAFETY (at every call): the argument is the integer, or a pointer to the structure, of this
// request (the assertions of kvm_abi.h check its size), and outlives the call.
template <typename Argument>
Outcome Ioctl(int fd, const Request& request, Argument argument) {
  return OutcomeOf(request.name, ioctl(fd, request.number, argument));
}

}  // namespace

Outcome OpenKvm(const char* path) { return OutcomeOf("open", open(path, O_RDWR | O_CLOEXEC)); }

Outcome GetApiVersion(int kvm) { return Ioctl(kvm, kGetApiVersion, 0UL); }

Outcome CheckExtension(int fd, uint32_t capability) {
  return Ioctl(fd, kCheckExtension, static_cast<unsigned long>(capability));
}

Outcome CreateVm(int kvm, uint64_t type) {
  Outcome outcome;
  // A signal that arrives while the kernel takes the locks of the whole address space ends this
  // call, and this one only, with EINTR and nothing done.
  do {
    outcome = Ioctl(kvm, kCreateVm, static_cast<unsigned long>(type));
  } while (outcome.error == EINTR);
  return outcome;
}

Outcome AllocateHtab(int vm, uint32_t order) {
  if (order < kMinOrder || order > kMaxOrder) return {0, EINVAL, kAllocateHtab.name};
  Outcome outcome = Ioctl(vm, kAllocateHtab, &order);
  // The argument is in and out: kernels that fall back to a smaller table write its order back.
  if (outcome.error == 0) outcome.value = order;
  return outcome;
}

Outcome GetHtabFd(int vm, uint64_t flags, uint64_t start_index) {
  GetHtabFdRequest request = {flags, start_index, {0, 0}};
  return Ioctl(vm, kGetHtabFd, &request);
}

Outcome PrepareHptResize(int vm, uint32_t order) {
  ResizeHptRequest request = {0, order, 0};
  return Ioctl(vm, kResizeHptPrepare, &request);
}

Outcome CommitHptResize(int vm, uint32_t order) {
  ResizeHptRequest request = {0, order, 0};
  return Ioctl(vm, kResizeHptCommit, &request);
}

Outcome GetSmmuInfo(int vm, uint8_t* bytes, size_t length) {
  if (length != kSmmuInfoBytes) return {0, EINVAL, kGetSmmuInfo.name};
  const Outcome outcome = Ioctl(vm, kGetSmmuInfo, bytes);
  return outcome.error != 0 ? outcome : Outcome{kSmmuInfoBytes, 0, outcome.call};
}

Outcome ConfigureV3Mmu(int vm, uint64_t flags, uint64_t process_table) {
  ConfigureV3MmuRequest request = {flags, process_table};
  return Ioctl(vm, kConfigureV3Mmu, &request);
}

}  // namespace kvm_htab::sys
