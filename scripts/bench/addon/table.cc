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
  Mark* mark = &table.marks[index];
  const bool dirty = (mark->bits & kDirty) != 0;
  if (!cursor.first && !dirty) return false;
  if (IsValid(table.entries[index]) != valid) return false;
  if (dirty) mark->bits &= ~kDirty;
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

// Checks whole records against a table of `count` entries and counts them; `on_valid` gets each
// legal entry, `on_invalid` the place of each that is not valid. False if a record is bad or one of
// the two says so.
template <typename OnValid, typename OnInvalid>
bool ForEachEntry(const uint8_t* bytes, size_t size, uint64_t count, Counts* counts,
                  OnValid on_valid, OnInvalid on_invalid) {
  uint64_t reached = 0;
  Counts seen = {};
  for (size_t at = 0; at < size;) {
    Header header;
    if (size - at < sizeof(Header)) return false;
    memcpy(&header, bytes + at, sizeof(Header));
    at += sizeof(Header);
    if (!IsLegal(header, reached, count, size - at)) return false;
    uint64_t index = header.index;
    for (unsigned i = 0; i < header.valid; i++, index++, at += sizeof(Entry)) {
      Entry entry;
      memcpy(&entry, bytes + at, sizeof(Entry));
      if (!IsLegal(entry) || !on_valid(index, entry)) return false;
    }
    for (unsigned i = 0; i < header.invalid; i++, index++) {
      if (!on_invalid(index)) return false;
    }
    reached = index;
    seen.records++;
    seen.valid += header.valid;
    seen.invalid += header.invalid;
    seen.index_sum += header.index;
  }
  counts->records += seen.records;
  counts->valid += seen.valid;
  counts->invalid += seen.invalid;
  counts->index_sum += seen.index_sum;
  return true;
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
      while (index < table.count && (table.marks[index].bits & kDirty) == 0) index++;
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
  const auto store = [&](uint64_t index, const Entry& entry) {
    if (host == Host::kPower9 && (be64toh(entry.v) & kLostOnPower9) != 0) return false;
    table.entries[index] = entry;
    return true;
  };
  const auto clear = [&](uint64_t index) {
    if (IsValid(table.entries[index])) table.entries[index] = Entry{0, 0};
    return true;
  };
  return ForEachEntry(bytes, size, table.count, counts, store, clear);
}

bool Agrees(const Table& table, const uint8_t* bytes, size_t size, Counts* counts) {
  const uint64_t compared = htobe64(~kPrivate);
  const auto is_same = [&](uint64_t index, const Entry& entry) {
    const Entry& wanted = table.entries[index];
    return ((entry.v ^ wanted.v) & compared) == 0 && entry.r == wanted.r;
  };
  const auto is_clear = [&](uint64_t index) { return !IsValid(table.entries[index]); };
  return ForEachEntry(bytes, size, table.count, counts, is_same, is_clear);
}

bool Decode(const uint8_t* bytes, size_t size, uint64_t count, Counts* counts) {
  const auto any_entry = [](uint64_t, const Entry&) { return true; };
  const auto any_index = [](uint64_t) { return true; };
  return ForEachEntry(bytes, size, count, counts, any_entry, any_index);
}

}  // namespace kvm_htab::bench
