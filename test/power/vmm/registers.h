#ifndef KVM_HTAB_TEST_POWER_VMM_REGISTERS_H_
#define KVM_HTAB_TEST_POWER_VMM_REGISTERS_H_

// A vcpu's registers as bytes: with those of all vcpus, what a guest is beside its memory and its
// table.

#include "vm.h"

enum { kNamedRegisters = 13, kVectorRegisters = 64 };

// The kernel's own structures and numbers, in the host's byte order.
struct Registers {
  struct kvm_regs general;   // GPRs, PC, MSR, CR, XER, LR, CTR, SRR0..1, SPRG0..7
  struct kvm_sregs special;  // the segment lookaside buffer
  uint64_t named[kNamedRegisters];
  uint64_t vectors[kVectorRegisters][2];  // floating point and vectors
};

// Reads the registers of all vcpus, none of which is in KVM_RUN.
void SaveRegisters(const struct Vm* vm, struct Registers registers[MAX_VCPUS]);

// Writes those of all vcpus, none of which has run yet.
void LoadRegisters(const struct Vm* vm, const struct Registers registers[MAX_VCPUS]);

#endif  // KVM_HTAB_TEST_POWER_VMM_REGISTERS_H_
