#include "table.h"

#include <endian.h>

#include <cstring>

namespace kvm_htab::bench {
namespace {

constexpr uint64_t kValid = 0x1;
constexpr uint64_t kLarge = 0x4;
constexpr unsigned kMaxRun = 65535;
// Bits of `v` that a POWER9 drops, and those that are the kernel's own.
constexpr uint64_t kLostOnPower9 = uint64_t{0x3ff} << 52;
constexpr uint64_t kPrivate = 0x60;

// Whether the next entry goes on with the run of valid (or invalid) ones; if so it is taken.
bool Take(const Table& table, const Cursor& cursor, uint64_t index, bool valid) {
  Side* side = &table.sides[index];
  const bool dirty = (side->marks & kDirty) != 0;
  if (!cursor.first && !dirty) return false;
  if (IsValid(table.entries[index]) != valid) return false;
  if (dirty) side->marks &= ~kDirty;
  return true;
}

// kernel-abi.md 7.
bool IsLegalSize(unsigned lp) {
  switch (lp) {
    case 0x00:
    case 0x03:
    case 0x08:
    case 0x38:
      return true;
    default:
      return (lp & 0xf) == 1 || (lp & 0xf) == 7;
  }
}

// A header that may stand after a record that ended at `reached`, with its HPTEs in `size` bytes.
bool IsLegal(const Header& header, uint64_t reached, uint64_t count, size_t size) {
  if (header.valid == 0 && header.invalid == 0) return false;
  if (header.index < reached) return false;
  if (uint64_t{header.index} + header.valid + header.invalid > count) return false;
  return header.valid * sizeof(Entry) <= size;
}

}  // namespace

bool IsValid(const Entry& entry) { return (be64toh(entry.v) & kValid) != 0; }

bool IsLegal(const Entry& entry) {
  const uint64_t v = be64toh(entry.v);
  if ((v & kValid) == 0 || v >> 63 != 0) return false;
  return (v & kLarge) == 0 || IsLegalSize((be64toh(entry.r) >> 12) & 0xff);
}

size_t Read(const Table& table, Cursor* cursor, uint8_t* out, size_t size) {
  size_t used = 0;
  uint64_t index = cursor->index;
  while (used + sizeof(Header) + sizeof(Entry) < size) {
    if (!cursor->first) {
      while (index < table.count && (table.sides[index].marks & kDirty) == 0) index++;
    }
    Header header = {static_cast<uint32_t>(index), 0, 0};
    size_t end = used + sizeof(Header);
    while (index < table.count && header.valid < kMaxRun && end + sizeof(Entry) < size &&
           Take(table, *cursor, index, true)) {
      memcpy(out + end, &table.entries[index], sizeof(Entry));
      end += sizeof(Entry);
      header.valid++;
      index++;
    }
    while (index < table.count && header.invalid < kMaxRun && Take(table, *cursor, index, false)) {
      header.invalid++;
      index++;
    }
    if (header.valid != 0 || header.invalid != 0) {
      memcpy(out + used, &header, sizeof(Header));
      used = end;
    }
    if (index >= table.count) {
      index = 0;
      cursor->first = false;
      break;
    }
  }
  cursor->index = index;
  return used;
}

bool Store(const Table& table, const uint8_t* bytes, size_t size, Host host, Counts* counts) {
  uint64_t reached = 0;
  for (size_t at = 0; at < size;) {
    Header header;
    if (size - at < sizeof(Header)) return false;
    memcpy(&header, bytes + at, sizeof(Header));
    at += sizeof(Header);
    if (!IsLegal(header, reached, table.count, size - at)) return false;
    uint64_t index = header.index;
    for (unsigned i = 0; i < header.valid; i++, index++, at += sizeof(Entry)) {
      Entry entry;
      memcpy(&entry, bytes + at, sizeof(Entry));
      if (!IsLegal(entry)) return false;
      if (host == Host::kPower9 && (be64toh(entry.v) & kLostOnPower9) != 0) return false;
      table.entries[index] = entry;
    }
    for (unsigned i = 0; i < header.invalid; i++, index++) {
      if (IsValid(table.entries[index])) table.entries[index] = Entry{0, 0};
    }
    reached = index;
    counts->valid += header.valid;
    counts->invalid += header.invalid;
  }
  return true;
}

bool Agrees(const Table& table, const uint8_t* bytes, size_t size, Counts* counts) {
  const uint64_t compared = htobe64(~kPrivate);
  uint64_t reached = 0;
  for (size_t at = 0; at < size;) {
    Header header;
    if (size - at < sizeof(Header)) return false;
    memcpy(&header, bytes + at, sizeof(Header));
    at += sizeof(Header);
    if (!IsLegal(header, reached, table.count, size - at)) return false;
    uint64_t index = header.index;
    for (unsigned i = 0; i < header.valid; i++, index++, at += sizeof(Entry)) {
      Entry entry;
      memcpy(&entry, bytes + at, sizeof(Entry));
      const Entry& wanted = table.entries[index];
      if (!IsLegal(entry)) return false;
      if (((entry.v ^ wanted.v) & compared) != 0 || entry.r != wanted.r) return false;
    }
    for (unsigned i = 0; i < header.invalid; i++, index++) {
      if (IsValid(table.entries[index])) return false;
    }
    reached = index;
    counts->valid += header.valid;
    counts->invalid += header.invalid;
  }
  return true;
}

bool Decode(const uint8_t* bytes, size_t size, uint64_t count, Totals* totals) {
  uint64_t reached = 0;
  uint64_t records = 0;
  uint64_t valid = 0;
  uint64_t invalid = 0;
  uint64_t index_sum = 0;
  for (size_t at = 0; at < size;) {
    Header header;
    if (size - at < sizeof(Header)) return false;
    memcpy(&header, bytes + at, sizeof(Header));
    at += sizeof(Header);
    if (!IsLegal(header, reached, count, size - at)) return false;
    for (unsigned i = 0; i < header.valid; i++, at += sizeof(Entry)) {
      Entry entry;
      memcpy(&entry, bytes + at, sizeof(Entry));
      if (!IsLegal(entry)) return false;
    }
    reached = uint64_t{header.index} + header.valid + header.invalid;
    records++;
    valid += header.valid;
    invalid += header.invalid;
    index_sum += header.index;
  }
  totals->records += records;
  totals->valid += valid;
  totals->invalid += invalid;
  totals->index_sum += index_sum;
  return true;
}

}  // namespace kvm_htab::bench
