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

// A request's number and its name, as an error has it.
struct Request {
  unsigned long number;
  const char* name;
};

constexpr Request kGetApiVersion = {_IO(KVMIO, 0x00), "KVM_GET_API_VERSION"};
constexpr Request kCreateVm = {_IO(KVMIO, 0x01), "KVM_CREATE_VM"};
constexpr Request kCheckExtension = {_IO(KVMIO, 0x03), "KVM_CHECK_EXTENSION"};
constexpr Request kGetSmmuInfo = {_IOR(KVMIO, 0xa6, SmmuInfo), "KVM_PPC_GET_SMMU_INFO"};
constexpr Request kAllocateHtab = {_IOWR(KVMIO, 0xa7, uint32_t), "KVM_PPC_ALLOCATE_HTAB"};
constexpr Request kGetHtabFd = {_IOW(KVMIO, 0xaa, GetHtabFdRequest), "KVM_PPC_GET_HTAB_FD"};
// The two resize requests say "read" and are input only; the configuration one says "write".
constexpr Request kResizeHptPrepare = {_IOR(KVMIO, 0xad, ResizeHptRequest),
                                       "KVM_PPC_RESIZE_HPT_PREPARE"};
constexpr Request kResizeHptCommit = {_IOR(KVMIO, 0xae, ResizeHptRequest),
                                      "KVM_PPC_RESIZE_HPT_COMMIT"};
constexpr Request kConfigureV3Mmu = {_IOW(KVMIO, 0xaf, ConfigureV3MmuRequest),
                                     "KVM_PPC_CONFIGURE_V3_MMU"};

#if defined(__powerpc__)
static_assert(kCreateVm.number == 0x2000ae01 && kAllocateHtab.number == 0xc004aea7 &&
              kGetHtabFd.number == 0x8020aeaa && kResizeHptPrepare.number == 0x4010aead &&
              kGetSmmuInfo.number == 0x4250aea6);
#else
static_assert(kCreateVm.number == 0xae01 && kAllocateHtab.number == 0xc004aea7 &&
              kGetHtabFd.number == 0x4020aeaa && kResizeHptPrepare.number == 0x8010aead &&
              kGetSmmuInfo.number == 0x8250aea6);
#endif

}  // namespace kvm_htab::sys

#endif  // KVM_HTAB_NATIVE_KVM_ABI_H_
