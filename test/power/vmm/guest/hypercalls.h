#ifndef KVM_HTAB_TEST_POWER_VMM_GUEST_HYPERCALLS_H_
#define KVM_HTAB_TEST_POWER_VMM_GUEST_HYPERCALLS_H_

#include <stdint.h>

enum {
  H_REMOVE = 0x04,
  H_ENTER = 0x08,
  H_READ = 0x0c,
  H_CLEAR_MOD = 0x10,
  H_PROTECT = 0x18,
  H_CONFER = 0xe4,
  H_BULK_REMOVE = 0x124,
};
enum { H_SUCCESS = 0, H_PARAMETER = -4, H_PTEG_FULL = -6 };

#define H_EXACT (1ull << 39)
#define H_AVPN (1ull << 31)

// What came back in r4 and r5.
struct HcallResult {
  int64_t status;
  uint64_t r4;
  uint64_t r5;
};

#define HCALL_CLOBBERS "r0", "r12", "ctr", "xer", "cr0", "cr1", "cr5", "cr6", "cr7", "memory"

static inline struct HcallResult Hcall(uint64_t number, uint64_t a, uint64_t b, uint64_t c,
                                       uint64_t d) {
  register uint64_t r3 __asm__("r3") = number;
  register uint64_t r4 __asm__("r4") = a;
  register uint64_t r5 __asm__("r5") = b;
  register uint64_t r6 __asm__("r6") = c;
  register uint64_t r7 __asm__("r7") = d;
  __asm__ volatile("sc 1"
                   : "+r"(r3), "+r"(r4), "+r"(r5), "+r"(r6), "+r"(r7)
                   :
                   : "r8", "r9", "r10", "r11", HCALL_CLOBBERS);
  return (struct HcallResult){(int64_t)r3, r4, r5};
}

// H_BULK_REMOVE of four pairs of words, which the answer replaces.
static inline int64_t BulkRemove(uint64_t words[8]) {
  register uint64_t r3 __asm__("r3") = H_BULK_REMOVE;
  register uint64_t r4 __asm__("r4") = words[0];
  register uint64_t r5 __asm__("r5") = words[1];
  register uint64_t r6 __asm__("r6") = words[2];
  register uint64_t r7 __asm__("r7") = words[3];
  register uint64_t r8 __asm__("r8") = words[4];
  register uint64_t r9 __asm__("r9") = words[5];
  register uint64_t r10 __asm__("r10") = words[6];
  register uint64_t r11 __asm__("r11") = words[7];
  __asm__ volatile("sc 1"
                   : "+r"(r3), "+r"(r4), "+r"(r5), "+r"(r6), "+r"(r7), "+r"(r8), "+r"(r9),
                     "+r"(r10), "+r"(r11)
                   :
                   : HCALL_CLOBBERS);
  words[0] = r4;
  words[1] = r5;
  words[2] = r6;
  words[3] = r7;
  words[4] = r8;
  words[5] = r9;
  words[6] = r10;
  words[7] = r11;
  return (int64_t)r3;
}

#endif  // KVM_HTAB_TEST_POWER_VMM_GUEST_HYPERCALLS_H_
