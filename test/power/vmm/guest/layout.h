#ifndef KVM_HTAB_TEST_POWER_VMM_GUEST_LAYOUT_H_
#define KVM_HTAB_TEST_POWER_VMM_GUEST_LAYOUT_H_

// The checking guest's memory, as it and its VMM see it. Guest addresses are real addresses.

#define CODE_ADDRESS 0x10000
#define STACKS_ADDRESS 0x30000  // of the vcpus, the first one's at the end
#define STACK_SHIFT 15
#define SETTINGS_ADDRESS 0x40000  // struct Settings
#define VCPUS_ADDRESS 0x50000     // what each vcpu has of its own; it begins with struct Report
#define VCPU_SHIFT 16
#define PAGES_ADDRESS 0x100000  // the guest's list of its pages
#define IDENTITY_END 0x200000   // below it, effective addresses are real addresses
#define SMALL_PAGES_ADDRESS 0x200000
#define SMALL_PAGES_END 0x1000000
// Within the reach of the real-mode area, also where that has only pages of 4 KiB.
#define LARGE_PAGES_ADDRESS 0x1000000
#define LARGE_PAGES_END 0x2000000

// Offsets in struct Report of what the interrupt handlers write.
#define REPORT_TICKS 0
#define REPORT_FAULT_DSISR 8
#define REPORT_FAULT_DAR 16

#ifndef __ASSEMBLER__

#include <stdint.h>

enum Phase { kStarting, kRunning, kFinished };

struct Failure {
  uint64_t check;  // enum Check of the guest
  uint64_t page;
  uint64_t got;
  uint64_t wanted;
  uint64_t iteration;
};

#define MAX_FAILURES 8

// Written by the VMM, read by its guest.
struct Settings {
  uint64_t order;
  uint64_t seed;
  uint64_t last_iteration;  // of each vcpu; 0: goes on for ever
  uint64_t vcpus;
};

// Written by one vcpu, read by the VMM.
struct Report {
  uint64_t ticks;
  uint64_t fault_dsisr;
  uint64_t fault_dar;
  uint64_t phase;
  uint64_t iteration;
  uint64_t checksum;
  uint64_t errors;
  struct Failure failures[MAX_FAILURES];
  uint64_t loads;
  uint64_t stores;
  uint64_t faults;  // that were due
  uint64_t removals;
  uint64_t enters;
  uint64_t protects;
  uint64_t reads;
  uint64_t clear_mods;
  uint64_t full_groups;  // H_ENTER that found no room
};

_Static_assert(__builtin_offsetof(struct Report, ticks) == REPORT_TICKS, "layout");
_Static_assert(__builtin_offsetof(struct Report, fault_dsisr) == REPORT_FAULT_DSISR, "layout");
_Static_assert(__builtin_offsetof(struct Report, fault_dar) == REPORT_FAULT_DAR, "layout");

#endif  // __ASSEMBLER__
#endif  // KVM_HTAB_TEST_POWER_VMM_GUEST_LAYOUT_H_
