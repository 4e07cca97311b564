#ifndef KVM_HTAB_TEST_POWER_VMM_VM_H_
#define KVM_HTAB_TEST_POWER_VMM_VM_H_

// A KVM HV virtual machine: 64 MiB of memory at guest address 0, a hashed page table, some vcpus.
// What cannot fail on a sound kernel ends the program when it does.

#include <linux/kvm.h>
#include <stdint.h>

// Hypercalls, by their numbers in the architecture's platform reference.
enum {
  kHcallRead = 0x0c,
  kHcallClearMod = 0x10,
  kHcallClearRef = 0x14,
  // Known to no kernel, so that it ends KVM_RUN: how the guests here speak to their VMM.
  kHcallExit = 0x58,
};

#define MEMORY_BYTES (64ull << 20)

// MSR of a guest in real mode: 64-bit, machine checks on, little-endian; and its translation bits.
#define MSR_REAL_MODE 0x8000000000001001ull
#define MSR_DATA_TRANSLATION 0x10ull

#define MAX_VCPUS 2

struct Vcpu {
  int fd;
  struct kvm_run* run;
};

struct Vm {
  int fd;
  uint32_t order;
  int vcpu_count;
  struct Vcpu vcpus[MAX_VCPUS];
};

// Ends the program, with the name of the call that failed and its errno, if `result` is negative.
int Must(int result, const char* call);

// Memory that several VMs can have at once, all zeros. `descriptor` becomes a memfd of it, which
// other processes can read and write.
uint8_t* AllocateGuestMemory(int* descriptor);

// Takes the host's mappings of that memory away, as compaction or a busy host would; it keeps what
// it holds, and the next access maps it again. Until then entries of its pages are absent.
void UnmapGuestMemory(uint8_t* memory);

// A VM with that memory and no table. `log_dirty_pages`: whether KVM_GET_DIRTY_LOG works on it.
struct Vm VmCreate(uint8_t* memory, int log_dirty_pages);

// KVM_PPC_ALLOCATE_HTAB; -1 and errno if the kernel refuses.
int VmAllocateHtab(struct Vm* vm, uint32_t order);

// Adds a vcpu, in real mode at `pc` with its number in R3; interrupts are taken in little-endian
// order.
void VmAddVcpu(struct Vm* vm, uint64_t pc);

// Closes what is open of it; descriptors of its table go on working.
void VmClose(struct Vm* vm);

// KVM_PPC_GET_HTAB_FD; -1 and errno if the kernel refuses.
int VmOpenHtab(const struct Vm* vm, uint64_t flags, uint64_t start_index);

// A register by its KVM_REG_PPC_ number.
uint64_t GetRegister(const struct Vcpu* vcpu, uint64_t id);

enum RunResult { kCalledVmm, kInterrupted, kUnexpectedExit };

// KVM_RUN until the guest calls its VMM, a signal comes, or something happens that never should.
// Only integer arithmetic may go on around it: floating-point registers can be lost across KVM_RUN.
enum RunResult RunVcpu(const struct Vcpu* vcpu);

// Completes what the last exit left half done, so that the registers are whole and may be changed.
void CompleteExit(const struct Vcpu* vcpu);

// KVM_GET_DIRTY_LOG: bit n for host page n that the guest has stored to since the call before. Only
// the process that made the VM may ask. The caller sees to it that DIRTY_LOG_WORDS fit.
#define DIRTY_LOG_WORDS (MEMORY_BYTES / 4096 / 64)  // no host page is smaller
void VmTakeDirtyLog(const struct Vm* vm, uint64_t* bitmap);

#endif  // KVM_HTAB_TEST_POWER_VMM_VM_H_
