#include "stats.h"

#include <endian.h>

#include <unordered_map>

namespace kvm_htab::bench {
namespace {

constexpr uint64_t kGroup = 8;

struct Segment {
  double entries;
  double bytes;
  double bolted;
  double writable;
  double executable;
};

struct Sizes {
  unsigned base;
  unsigned actual;
};

// kernel-abi.md 7.
Sizes SizesOf(uint64_t v, uint64_t r) {
  if ((v & 0x4) == 0) return {12, 12};
  const unsigned lp = (r >> 12) & 0xff;
  if ((lp & 0xf) == 0x7) return {12, 16};
  if ((lp & 0xf) == 0x1) return {16, 16};
  switch (lp) {
    case 0x38:
      return {12, 24};
    case 0x08:
      return {16, 24};
    case 0x00:
      return {24, 24};
    case 0x03:
      return {34, 34};
    default:
      return {0, 0};
  }
}

// A page as its entry and group give it; `hash` is that of the group, with the bits it adds.
struct Page {
  uint64_t key;
  unsigned base;
  bool secondary;
  bool placed;
};

Page PageOf(uint64_t v, unsigned base, uint64_t group, uint64_t mask) {
  const bool is_1t = v >> 62 == 1;
  const unsigned low_bits = base > 23 ? base - 16 : 7;
  const uint64_t key = v & ~((uint64_t{1} << low_bits) - 1);
  const uint64_t vsid = is_1t ? (v >> 24) & 0x3fffffffff : (v >> 12) & 0x3ffffffffffff;
  const uint64_t offset = ((v >> 7) & (is_1t ? 0x1ffff : 0x1f)) << 23;
  const uint64_t segment_hash = is_1t ? vsid ^ (vsid << 25) : vsid;
  const bool secondary = (v & 0x2) != 0;
  uint64_t wrong = (segment_hash ^ (offset >> base) ^ (secondary ? ~group : group)) & mask;
  if (base < 23) wrong >>= 23 - base;
  return {key, base, secondary, wrong == 0 && (base != 34 || is_1t)};
}

bool Same(const Page& a, const Page& b) { return a.key == b.key && a.base == b.base; }

class Counter {
 public:
  explicit Counter(const Table& table) : table_(table), mask_(table.count / kGroup - 1) {}

  Stats Count() {
    for (uint64_t group = 0; group <= mask_; group++) CountGroup(group);
    stats_.vsids = static_cast<double>(segments_.size());
    for (const auto& [vsid, segment] : segments_) stats_.mapped_bytes += segment.bytes;
    return stats_;
  }

 private:
  unsigned HeldBy(uint64_t group) const {
    unsigned held = 0;
    for (uint64_t slot = 0; slot < kGroup; slot++) {
      held += be64toh(table_.entries[group * kGroup + slot].v) & 1;
    }
    return held;
  }

  void CountGroup(uint64_t group) {
    Page pages[kGroup];
    unsigned placed = 0;
    unsigned held = 0;
    for (uint64_t slot = 0; slot < kGroup; slot++) {
      const Entry& entry = table_.entries[group * kGroup + slot];
      const uint64_t v = be64toh(entry.v);
      if ((v & 1) == 0) continue;
      held++;
      CountEntry(v, be64toh(entry.r), group, pages, &placed);
    }
    stats_.occupancy[held]++;
    if (held == kGroup && HeldBy(~group & mask_) == kGroup) stats_.cornered += kGroup;
  }

  void CountEntry(uint64_t v, uint64_t r, uint64_t group, Page* pages, unsigned* placed) {
    const unsigned pp = (r >> 63) << 2 | (r & 3);
    const bool writable = pp < 3;
    const bool executable = (r & 0xc) == 0;
    const bool bolted = (v & 0x10) != 0;
    stats_.protections[pp]++;
    stats_.keys[((r >> 57) & 0x18) | ((r >> 9) & 7)]++;
    stats_.wimg[(r >> 3) & 0xf]++;
    if ((v & 0x2) != 0) stats_.secondary++;
    if (bolted) stats_.bolted++;
    if ((r & 0x100) != 0) stats_.referenced++;
    if ((r & 0x80) != 0) stats_.changed++;
    if (writable) stats_.writable++;
    if (executable) stats_.executable++;
    const Sizes sizes = SizesOf(v, r);
    if (sizes.base == 0 || v >> 63 != 0) {
      stats_.unreadable++;
      return;
    }
    const bool is_1t = v >> 62 == 1;
    Segment* segment = &segments_[is_1t ? v >> 24 : v >> 12];
    segment->entries++;
    segment->bytes += static_cast<double>(uint64_t{1} << sizes.actual);
    if (bolted) segment->bolted++;
    if (writable) segment->writable++;
    if (executable) segment->executable++;
    const Page page = PageOf(v, sizes.base, group, mask_);
    if (!page.placed) {
      stats_.misplaced++;
      return;
    }
    if (IsDouble(page, group, pages, *placed)) stats_.doubled++;
    pages[(*placed)++] = page;
  }

  bool IsDouble(const Page& page, uint64_t group, const Page* before, unsigned count) const {
    for (unsigned at = 0; at < count; at++) {
      if (Same(before[at], page) && before[at].secondary == page.secondary) return true;
    }
    if (!page.secondary) return false;
    for (uint64_t slot = 0; slot < kGroup; slot++) {
      const Entry& entry = table_.entries[(~group & mask_) * kGroup + slot];
      const uint64_t v = be64toh(entry.v);
      if ((v & 0x3) != 1) continue;
      const unsigned base = SizesOf(v, be64toh(entry.r)).base;
      if (base == page.base && Same(PageOf(v, base, group, mask_), page)) return true;
    }
    return false;
  }

  const Table& table_;
  const uint64_t mask_;
  Stats stats_ = {};
  std::unordered_map<uint64_t, Segment> segments_;
};

}  // namespace

Stats CountAll(const Table& table) { return Counter(table).Count(); }

}  // namespace kvm_htab::bench
