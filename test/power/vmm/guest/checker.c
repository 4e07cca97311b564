// A guest that runs translated through its hashed page table, keeps changing the table by
// hypercalls, and checks every load, every hypercall's answer, every fault that is due and a few
// registers. It is deterministic: with the same seed, order, page sizes and number of vcpus the
// checksum of a vcpu at an iteration is the same wherever it ran until then.
//
// All vcpus work at once, in one table; each has a share of the pages. At the end of a round they
// wait for each other, and shares change hands. A translation that a vcpu remembers, though another
// one has changed the entry since, then shows: as a wrong value, a lost C or a fault that is not
// due.

#include "hypercalls.h"
#include "mapping.h"
#include "step.h"

#define MSR_EXTERNAL_INTERRUPTS 0x8000ull
#define MSR_RECOVERABLE 0x02ull
#define VECTORS_END 0x1000ull
#define VECTOR_BYTES 0x80ull

enum { kIterationsPerRound = 256 };

extern const char handle_data_storage[], handle_data_storage_end[];
extern const char handle_decrementer[], handle_decrementer_end[];
extern const char handle_unexpected[], handle_unexpected_end[];

static void CopyBytes(uint64_t to, const char* from, const char* end) {
  volatile char* target = (volatile char*)to;
  while (from < end) *target++ = *from++;
}

static void InstallVectors(void) {
  for (uint64_t vector = 0x100; vector < VECTORS_END; vector += VECTOR_BYTES) {
    CopyBytes(vector, handle_unexpected, handle_unexpected_end);
  }
  CopyBytes(0x300, handle_data_storage, handle_data_storage_end);
  CopyBytes(0x900, handle_decrementer, handle_decrementer_end);
  for (uint64_t line = 0; line < VECTORS_END; line += 32) {
    __asm__ volatile("dcbst 0, %0\n sync\n icbi 0, %0" ::"r"(line) : "memory");
  }
  __asm__ volatile("sync\n isync" ::: "memory");
}

// Waits until a number in the report of another vcpu has come so far.
static void WaitFor(uint64_t vcpu, const uint64_t* number, uint64_t value) {
  while (__atomic_load_n(number, __ATOMIC_ACQUIRE) < value) Hcall(H_CONFER, vcpu, 0, 0, 0);
}

static void FinishRound(uint64_t iteration) {
  for (uint64_t i = 0; i < Settings()->vcpus; i++) {
    WaitFor(i, &VcpuAt(i)->report.iteration, iteration);
  }
}

static int IsThrough(uint64_t iteration) {
  uint64_t last = Settings()->last_iteration;
  return last != 0 && iteration >= last;
}

static void RunIterations(void) {
  for (uint64_t iteration = 0; !IsThrough(iteration);) {
    Step((self->number + iteration / kIterationsPerRound) % Settings()->vcpus);
    iteration++;
    if (iteration % 16 == 0) CheckRegisters();
    __atomic_store_n(&self->report.iteration, iteration, __ATOMIC_RELEASE);
    if (iteration % kIterationsPerRound == 0) FinishRound(iteration);
  }
}

void RunChecker(uint64_t number) {
  self->number = number;
  SeedRandom(Mix(number, Settings()->seed));
  if (number == 0) {
    InstallVectors();
    ChoosePageSizes();
    MapIdentity();
    CreatePages();
  } else {
    WaitFor(0, &VcpuAt(0)->report.phase, kRunning);
  }
  LoadSegments();
  __asm__ volatile("mtdec %0" ::"r"(0x100000));
  SwitchMsr(0, MSR_TRANSLATION | MSR_RECOVERABLE | MSR_EXTERNAL_INTERRUPTS);
  SetRegisters();
  __atomic_store_n(&self->report.phase, kRunning, __ATOMIC_RELEASE);
  RunIterations();
  self->report.phase = kFinished;
  for (;;) Hcall(0x58, 1, 0, 0, 0);
}
