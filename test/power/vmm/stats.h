#ifndef KVM_HTAB_TEST_POWER_VMM_STATS_H_
#define KVM_HTAB_TEST_POWER_VMM_STATS_H_

#include <stdint.h>

// Replies with what each vcpu of the checking guest in this memory has reported, as JSON.
void ReplyStats(int peer, const uint8_t* memory, int commits);

#endif  // KVM_HTAB_TEST_POWER_VMM_STATS_H_
