#ifndef KVM_HTAB_BENCH_HYPERCALLS_H_
#define KVM_HTAB_BENCH_HYPERCALLS_H_

#include <cstddef>
#include <cstdint>

#include "table.h"

// What a guest does to its table with H_ENTER and H_REMOVE (kernel-abi.md 6).

namespace kvm_htab::bench {

// Makes an entry in the group of each place, and then removes all of them, the first ones first.
// Marks what has changed if `tracked`. Returns how many entries were made.
size_t EnterAndRemove(const Table& table, const uint32_t* places, size_t count, bool tracked);

}  // namespace kvm_htab::bench

#endif  // KVM_HTAB_BENCH_HYPERCALLS_H_
