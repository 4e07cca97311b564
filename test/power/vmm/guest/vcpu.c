#include "vcpu.h"

#define PVR_POWER9 0x4e

#define READ_SPR(number)                                      \
  ({                                                          \
    uint64_t spr_value;                                       \
    __asm__ volatile("mfspr %0, " #number : "=r"(spr_value)); \
    spr_value;                                                \
  })

void Fail(uint64_t check, uint64_t page, uint64_t got, uint64_t wanted) {
  volatile struct Report* report = Report();
  uint64_t number = report->errors++;
  if (number >= MAX_FAILURES) return;
  volatile struct Failure* failure = &report->failures[number];
  failure->check = check;
  failure->page = page;
  failure->got = got;
  failure->wanted = wanted;
  failure->iteration = report->iteration;
}

void SeedRandom(uint64_t seed) { self->random = seed | 1; }

uint64_t Random(void) {
  self->random ^= self->random >> 12;
  self->random ^= self->random << 25;
  self->random ^= self->random >> 27;
  return self->random * 0x2545f4914f6cdd1dull;
}

uint64_t Mix(uint64_t a, uint64_t b) {
  a = a * 0x9e3779b97f4a7c15ull + b;
  a ^= a >> 29;
  a *= 0xbf58476d1ce4e5b9ull;
  return a ^ a >> 32;
}

static const uint64_t kVrsave = 0x12345678, kTar = 0x1122334455667788, kDscr = 7,
                      kAmr = 0x3000000000000000, kEbbhr = 0x0badcafe12345678;

void SetRegisters(void) {
  // The first two are each vcpu's own.
  WRITE_SPR(256, kVrsave + self->number);
  WRITE_SPR(815, kTar + self->number);
  WRITE_SPR(17, kDscr);
  WRITE_SPR(29, kAmr);
  WRITE_SPR(804, kEbbhr);
  self->last_time = READ_SPR(268);
}

static void CheckRegister(uint64_t number, uint64_t got, uint64_t wanted) {
  if (got != wanted) Fail(kRegister + number, 0, got, wanted);
}

void CheckRegisters(void) {
  CheckRegister(0, READ_SPR(256), kVrsave + self->number);
  CheckRegister(1, READ_SPR(815), kTar + self->number);
  CheckRegister(2, READ_SPR(17), kDscr);
  CheckRegister(3, READ_SPR(29), kAmr);
  // On POWER9 the kernel saves EBBHR only for a guest that was granted event-based branches; until
  // then the processor keeps it, for whatever runs there next.
  if (READ_SPR(287) >> 16 != PVR_POWER9) CheckRegister(4, READ_SPR(804), kEbbhr);
  uint64_t time = READ_SPR(268);
  if (time < self->last_time) Fail(kTimeBase, 0, time, self->last_time);
  self->last_time = time;
}
