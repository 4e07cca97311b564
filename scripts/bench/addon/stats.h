#ifndef KVM_HTAB_BENCH_STATS_H_
#define KVM_HTAB_BENCH_STATS_H_

#include <array>

#include "table.h"

// What tableStats counts, as a C++ program would.

namespace kvm_htab::bench {

struct Stats {
  std::array<double, 9> occupancy;
  std::array<double, 8> protections;
  std::array<double, 32> keys;
  std::array<double, 16> wimg;
  double secondary;
  double bolted;
  double referenced;
  double changed;
  double writable;
  double executable;
  double cornered;
  double unreadable;
  double misplaced;
  double doubled;
  double vsids;
  double mapped_bytes;
};

Stats CountAll(const Table& table);

}  // namespace kvm_htab::bench

#endif  // KVM_HTAB_BENCH_STATS_H_
