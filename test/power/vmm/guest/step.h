#ifndef KVM_HTAB_TEST_POWER_VMM_GUEST_STEP_H_
#define KVM_HTAB_TEST_POWER_VMM_GUEST_STEP_H_

// What the checking guest does all the time.

#include <stdint.h>

// Accesses a page of the share, or changes its entry, and checks the outcome. Page n belongs to
// share n modulo the number of vcpus.
void Step(uint64_t share);

#endif  // KVM_HTAB_TEST_POWER_VMM_GUEST_STEP_H_
