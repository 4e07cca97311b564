#ifndef KVM_HTAB_BENCH_TABLE_H_
#define KVM_HTAB_BENCH_TABLE_H_

#include <cstddef>
#include <cstdint>

// What the library is measured against: a hashed page table as a C program would keep it, a flat
// array of entries with marks beside it, and plain loops that go through it entry by entry.

namespace kvm_htab::bench {

// Both doublewords big-endian, as in the stream.
struct Entry {
  uint64_t v;
  uint64_t r;
};

// What the owner of a table keeps beside each entry.
struct Mark {
  uint64_t bits;
  uint64_t spare;
};

constexpr uint64_t kDirty = 1;

bool IsValid(const Entry& entry);

// Whether a kernel takes it: V set, no reserved segment, a legal page size
// (kernel-abi.md 4.2, 4.4).
bool IsLegal(const Entry& entry);

struct Table {
  Entry* entries;
  Mark* marks;
  uint64_t count;
};

// A reader's place; `first` until it has come to the table's end once.
struct Cursor {
  uint64_t index;
  bool first;
};

struct Header {
  uint32_t index;
  uint16_t valid;
  uint16_t invalid;
};

// One read(2) as the kernel answers it (kernel-abi.md 2.3): returns the bytes written.
size_t Read(const Table& table, Cursor* cursor, uint8_t* out, size_t size);

// What a host holds: everything, or of `v` only what a POWER9 keeps (kernel-abi.md 3.1).
enum class Host { kAny, kPower9 };

struct Counts {
  uint64_t records;
  uint64_t valid;
  uint64_t invalid;
  uint64_t index_sum;
};

// Checks whole records against the table, applies them and counts them. False if one is bad.
bool Store(const Table& table, const uint8_t* bytes, size_t size, Host host, Counts* counts);

// Checks whole records, compares them with the table and counts them. False if one is bad, or says
// anything else than the table, apart from the bits of `v` that are the kernel's own.
bool Agrees(const Table& table, const uint8_t* bytes, size_t size, Counts* counts);

// Checks whole records against a table of `count` entries and counts them. False if one is bad.
bool Decode(const uint8_t* bytes, size_t size, uint64_t count, Counts* counts);

}  // namespace kvm_htab::bench

#endif  // KVM_HTAB_BENCH_TABLE_H_
