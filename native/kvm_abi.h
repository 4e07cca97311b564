#ifndef KVM_HTAB_NATIVE_KVM_ABI_H_
#define KVM_HTAB_NATIVE_KVM_ABI_H_

// Request numbers and structures of the ioctls used here. The powerpc structures stand only in
// powerpc's asm/kvm.h, so they are declared here for every architecture; the numbers come from the
// compiling architecture's own _IO macros, which differ between powerpc and the rest.

#include <linux/kvm.h>
#include <sys/ioctl.h>

#include <cstddef>
#include <cstdint>

namespace kvm_htab::sys {

struct GetHtabFdRequest {
  uint64_t flags;
  uint64_t start_index;
  uint64_t reserved[2];
};

struct ResizeHptRequest {
  uint64_t flags;
  uint32_t order;
  uint32_t pad;
};

struct ConfigureV3MmuRequest {
  uint64_t flags;
  uint64_t process_table;
};

// struct kvm_ppc_smmu_info, which TypeScript takes apart; declared for its size and alignment only.
constexpr size_t kSmmuInfoBytes = 592;
struct SmmuInfo {
  uint64_t words[kSmmuInfoBytes / sizeof(uint64_t)];
};

static_assert(sizeof(GetHtabFdRequest) == 32 && offsetof(GetHtabFdRequest, start_index) == 8);
static_assert(sizeof(ResizeHptRequest) == 16 && offsetof(ResizeHptRequest, order) == 8);
static_assert(sizeof(ConfigureV3MmuRequest) == 16);
static_assert(sizeof(SmmuInfo) == kSmmuInfoBytes);

constexpr unsigned long kGetApiVersion = _IO(KVMIO, 0x00);
constexpr unsigned long kCreateVm = _IO(KVMIO, 0x01);
constexpr unsigned long kCheckExtension = _IO(KVMIO, 0x03);
constexpr unsigned long kGetSmmuInfo = _IOR(KVMIO, 0xa6, SmmuInfo);
constexpr unsigned long kAllocateHtab = _IOWR(KVMIO, 0xa7, uint32_t);
constexpr unsigned long kGetHtabFd = _IOW(KVMIO, 0xaa, GetHtabFdRequest);
// The two resize requests say "read" and are input only; the configuration one says "write".
constexpr unsigned long kResizeHptPrepare = _IOR(KVMIO, 0xad, ResizeHptRequest);
constexpr unsigned long kResizeHptCommit = _IOR(KVMIO, 0xae, ResizeHptRequest);
constexpr unsigned long kConfigureV3Mmu = _IOW(KVMIO, 0xaf, ConfigureV3MmuRequest);

#if defined(__powerpc__)
static_assert(kCreateVm == 0x2000ae01 && kAllocateHtab == 0xc004aea7 && kGetHtabFd == 0x8020aeaa &&
              kResizeHptPrepare == 0x4010aead && kGetSmmuInfo == 0x4250aea6);
#else
static_assert(kCreateVm == 0xae01 && kAllocateHtab == 0xc004aea7 && kGetHtabFd == 0x4020aeaa &&
              kResizeHptPrepare == 0x8010aead && kGetSmmuInfo == 0x8250aea6);
#endif

}  // namespace kvm_htab::sys

#endif  // KVM_HTAB_NATIVE_KVM_ABI_H_
