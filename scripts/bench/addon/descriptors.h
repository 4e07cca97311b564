#ifndef KVM_HTAB_BENCH_DESCRIPTORS_H_
#define KVM_HTAB_BENCH_DESCRIPTORS_H_

#include <cstddef>
#include <cstdint>

// What a C program does to move records through a descriptor: a loop and a system call.

namespace kvm_htab::bench {

// Reads 1 MiB at a time into one buffer, up to the end of the file. Returns the bytes read.
uint64_t ReadAll(int fd);

// One write(2) per record. False if one is not taken whole, or the last one is cut.
bool WriteEach(int fd, const uint8_t* records, size_t size);

}  // namespace kvm_htab::bench

#endif  // KVM_HTAB_BENCH_DESCRIPTORS_H_
