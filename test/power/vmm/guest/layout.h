#ifndef KVM_HTAB_TEST_POWER_VMM_GUEST_LAYOUT_H_
#define KVM_HTAB_TEST_POWER_VMM_GUEST_LAYOUT_H_

// The checking guest's memory, as it and its VMM see it. Guest addresses are real addresses.

#define CODE_ADDRESS 0x10000
#define STACK_TOP 0x3ff00
#define REPORT_ADDRESS 0x40000       // struct Report
#define PAGES_ADDRESS 0x100000       // the guest's list of its pages
#define FREE_SMALL_ADDRESS 0x180000  // unused real pages of 4 KiB
#define FREE_LARGE_ADDRESS 0x190000  // unused real pages of 64 KiB
#define IDENTITY_END 0x200000        // below it, effective addresses are real addresses
#define SMALL_PAGES_ADDRESS 0x400000
#define SMALL_PAGES_COUNT 3072
// Within the reach of the real-mode area, also where that has only pages of 4 KiB.
#define LARGE_PAGES_ADDRESS 0x1000000
#define LARGE_PAGES_COUNT 256

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

// Written by the guest, read by its VMM; the settings the other way round.
struct Report {
  uint64_t ticks;
  uint64_t fault_dsisr;
  uint64_t fault_dar;
  // settings
  uint64_t order;
  uint64_t seed;
  uint64_t last_iteration;  // 0: goes on for ever
  // what happened
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
  uint64_t large_pages;  // of 64 KiB, in use; none where the host has smaller pages
  uint64_t unmapped;     // pages that have no entry at the moment
};

_Static_assert(__builtin_offsetof(struct Report, ticks) == REPORT_TICKS, "layout");
_Static_assert(__builtin_offsetof(struct Report, fault_dsisr) == REPORT_FAULT_DSISR, "layout");
_Static_assert(__builtin_offsetof(struct Report, fault_dar) == REPORT_FAULT_DAR, "layout");

#endif  // __ASSEMBLER__
#endif  // KVM_HTAB_TEST_POWER_VMM_GUEST_LAYOUT_H_
