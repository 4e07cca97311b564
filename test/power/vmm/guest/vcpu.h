#ifndef KVM_HTAB_TEST_POWER_VMM_GUEST_VCPU_H_
#define KVM_HTAB_TEST_POWER_VMM_GUEST_VCPU_H_

// What each vcpu of the checking guest has of its own.

#include <stdint.h>

#include "layout.h"

enum { kFreePages = 1024 };

struct Vcpu {
  struct Report report;
  uint64_t number;
  uint64_t random;
  uint64_t last_time;
  uint64_t unmapped;  // pages that have no entry at the moment, of the share of this number
  // Unused real pages: of 4 KiB, and of 64 KiB.
  uint32_t free_pages[2][kFreePages];
  uint32_t free_count[2];
};

_Static_assert(sizeof(struct Vcpu) <= 1 << VCPU_SHIFT, "layout");

// The vcpu that executes this.
register struct Vcpu* self __asm__("r13");

static inline volatile struct Report* Report(void) { return &self->report; }
static inline volatile struct Settings* Settings(void) {
  return (volatile struct Settings*)SETTINGS_ADDRESS;
}
static inline struct Vcpu* VcpuAt(uint64_t number) {
  return (struct Vcpu*)(VCPUS_ADDRESS + (number << VCPU_SHIFT));
}

// What the guest checks; a failure is reported under its number.
enum Check {
  kValue = 1,
  kEnter,
  kRemove,
  kRemovedEntry,
  kProtect,
  kRead,
  kReadEntry,
  kClearMod,
  kBulkRemove,
  kFault,
  kFaultStatus,
  kFaultAddress,
  kTimeBase,
  kRegister,  // and the numbers above it: one for each register
};

void Fail(uint64_t check, uint64_t page, uint64_t got, uint64_t wanted);

uint64_t Random(void);
void SeedRandom(uint64_t seed);
uint64_t Mix(uint64_t a, uint64_t b);

#define WRITE_SPR(number, value) __asm__ volatile("mtspr " #number ", %0" ::"r"((uint64_t)(value)))

// Changes bits of the MSR. Returns what it was.
static inline uint64_t SwitchMsr(uint64_t clear, uint64_t set) {
  uint64_t before;
  __asm__ volatile("mfmsr %0" : "=r"(before));
  __asm__ volatile("mtmsrd %0\n isync" ::"r"((before & ~clear) | set) : "memory");
  return before;
}

#define MSR_TRANSLATION 0x30ull

// Sets registers that a move to another vcpu must not lose, and checks that they are not lost.
void SetRegisters(void);
void CheckRegisters(void);

#endif  // KVM_HTAB_TEST_POWER_VMM_GUEST_VCPU_H_
