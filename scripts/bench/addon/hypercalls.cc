#include "hypercalls.h"

#include <endian.h>

#include <vector>

namespace kvm_htab::bench {
namespace {

constexpr uint64_t kGroup = 8;
constexpr int64_t kRefused = -1;

// Takes the lowest free entry of the group that `place` lies in. Returns its index.
int64_t Enter(const Table& table, uint64_t place, const Entry& entry, bool tracked) {
  if (place >= table.count || !IsLegal(entry)) return kRefused;
  const uint64_t group = place & ~(kGroup - 1);
  for (uint64_t index = group; index < group + kGroup; index++) {
    if (IsValid(table.entries[index])) continue;
    table.entries[index] = entry;
    if (tracked) table.marks[index].bits |= kDirty;
    return static_cast<int64_t>(index);
  }
  return kRefused;
}

// Gives the entry as it was.
bool Remove(const Table& table, uint64_t index, Entry* removed, bool tracked) {
  if (index >= table.count || !IsValid(table.entries[index])) return false;
  *removed = table.entries[index];
  table.entries[index] = Entry{0, 0};
  if (tracked) table.marks[index].bits |= kDirty;
  return true;
}

}  // namespace

size_t EnterAndRemove(const Table& table, const uint32_t* places, size_t count, bool tracked) {
  std::vector<uint64_t> made;
  made.reserve(count);
  for (uint64_t pair = 0; pair < count; pair++) {
    const uint64_t v = (0x40000000 | (pair & 0xfffff)) << 32 | (pair << 7 & 0xffffffff) | 0x45;
    const uint64_t r = (pair << 16 & 0xffffffff) | 0x1190;
    const int64_t index = Enter(table, places[pair], {htobe64(v), htobe64(r)}, tracked);
    if (index >= 0) made.push_back(static_cast<uint64_t>(index));
  }
  size_t removed = 0;
  Entry entry;
  for (const uint64_t index : made) removed += Remove(table, index, &entry, tracked) ? 1 : 0;
  return removed;
}

}  // namespace kvm_htab::bench
