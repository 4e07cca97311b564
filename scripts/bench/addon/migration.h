#ifndef KVM_HTAB_BENCH_MIGRATION_H_
#define KVM_HTAB_BENCH_MIGRATION_H_

#include <cstddef>
#include <cstdint>

#include "channel.h"
#include "table.h"

// The work of a migration as a C program would do it: frames with sequence numbers and a CRC-32,
// both sides check, fold, count and hash all records, the destination writes each to its descriptor
// and reads the table back. What the library has beyond that (deadlines, heartbeats, journals)
// costs it nothing that grows with the table.

namespace kvm_htab::bench {

// What a kernel's read descriptor gives, read by read, for no more than a copy.
struct Reads {
  const uint8_t* bytes;
  const uint32_t* lengths;
  size_t count;
};

// Both empty `table`, fold all records into it, and return whether the other side agrees on them.
// Its memory is the caller's and used again: a fresh one costs more page faults than all the work.
bool SendTable(Channel* channel, const Reads& reads, const Table& table);

// Writes records to `fd`, one write(2) each; `reads` is what reading them back gives.
bool ReceiveTable(Channel* channel, int fd, const Reads& reads, const Table& table);

}  // namespace kvm_htab::bench

#endif  // KVM_HTAB_BENCH_MIGRATION_H_
