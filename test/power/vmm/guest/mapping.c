#include "mapping.h"

#include "hypercalls.h"

#define OFFSET_256M 0xfffffffull
#define OFFSET_1T 0xffffffffffull
#define V_1T (1ull << 62)
#define V_BOLTED 0x10ull
#define V_LARGE 0x04ull
#define V_SECONDARY 0x02ull
#define V_VALID 0x01ull
#define V_SOFTWARE 0x18ull
#define R_LARGE_64K 0x1000ull
#define R_REFERENCED 0x100ull
#define R_CHANGED 0x80ull
#define R_COHERENT 0x10ull
#define R_READ_WRITE 0x02ull
#define R_READ_ONLY 0x03ull
#define SLB_VALID 0x08000000ull
#define SLB_1T (1ull << 62)
#define SLB_64K 0x110ull

struct Segment segments[kSegments] = {
    {0x00000000ull, 0x0a1, 0x1000, 512, 0, 0},    {0x10000000ull, 0x123, 0x1000, 1024, 0, 0},
    {0x20000000ull, 0x2345, 0x10000, 96, 0, 1},   {0x30000000ull, 0x777, 0x21000, 512, 0, 0},
    {0x10000000000ull, 0x77, 0x1000, 1024, 1, 0}, {0x20000000000ull, 0x5a5, 0x110000, 96, 1, 1},
};

static uint64_t random_state;

void SeedRandom(uint64_t seed) { random_state = seed | 1; }

uint64_t Random(void) {
  random_state ^= random_state >> 12;
  random_state ^= random_state << 25;
  random_state ^= random_state >> 27;
  return random_state * 0x2545f4914f6cdd1dull;
}

uint64_t Mix(uint64_t a, uint64_t b) {
  a = a * 0x9e3779b97f4a7c15ull + b;
  a ^= a >> 29;
  a *= 0xbf58476d1ce4e5b9ull;
  return a ^ a >> 32;
}

void Fail(uint64_t check, uint64_t page, uint64_t got, uint64_t wanted) {
  volatile struct Report* report = Report();
  uint64_t number = report->errors++;
  if (number >= MAX_FAILURES) return;
  volatile struct Failure* failure = &report->failures[number];
  failure->check = check;
  failure->page = page;
  failure->got = got;
  failure->wanted = wanted;
  failure->iteration = report->iteration;
}

static uint64_t HashedGroup(const struct Segment* segment, uint64_t address, int secondary) {
  uint64_t offset = address & (segment->is_1t ? OFFSET_1T : OFFSET_256M);
  uint64_t hash = segment->vsid ^ offset >> PageShift(segment);
  if (segment->is_1t) hash ^= segment->vsid << 25;
  uint64_t groups = 1ull << (Report()->order - 7);
  return (secondary ? ~hash : hash) & (groups - 1);
}

static uint64_t SegmentV(const struct Segment* segment, uint64_t address, int secondary) {
  uint64_t offset = address & (segment->is_1t ? OFFSET_1T : OFFSET_256M);
  uint64_t avpn = (segment->vsid << (segment->is_1t ? 24 : 12) | offset >> 16) & ~0x7full;
  return avpn | V_VALID | (segment->is_1t ? V_1T : 0) | (segment->is_large ? V_LARGE : 0) |
         (secondary ? V_SECONDARY : 0);
}

static uint64_t SegmentR(const struct Segment* segment, uint64_t real, int read_only) {
  return real | (segment->is_large ? R_LARGE_64K : 0) | R_COHERENT |
         (read_only ? R_READ_ONLY : R_READ_WRITE);
}

// H_ENTER into the group the address hashes to: slot 0..7, or -1 for any.
static struct HcallResult Enter(const struct Segment* segment, uint64_t address, uint64_t real,
                                int secondary, int slot, uint64_t software_bits) {
  uint64_t group = HashedGroup(segment, address, secondary);
  uint64_t ptex = group * 8 + (slot < 0 ? 0 : slot);
  uint64_t v = SegmentV(segment, address, secondary) | software_bits;
  struct HcallResult result =
      Hcall(H_ENTER, slot < 0 ? 0 : H_EXACT, ptex, v, SegmentR(segment, real, 0));
  if (slot >= 0 && result.status == H_SUCCESS && result.r4 != ptex) {
    Fail(kEnter, address, result.r4, ptex);
  }
  return result;
}

void SetUpSegments(void) {
  struct Segment* large = &segments[2];
  struct HcallResult probe = Enter(large, large->address, LARGE_PAGES_ADDRESS, 0, -1, 0);
  if (probe.status == H_SUCCESS) {
    Hcall(H_REMOVE, 0, probe.r4, 0, 0);
  } else if (probe.status == H_PARAMETER) {
    // Memory here stands on pages of 4 KiB: larger ones cannot map it.
    for (int i = 0; i < kSegments; i++) segments[i].is_large = 0;
  }
  __asm__ volatile("isync\n slbia\n isync\n slbmte %0, %0\n isync" ::"r"(0ull) : "memory");
  for (uint64_t i = 0; i < kSegments; i++) {
    const struct Segment* segment = &segments[i];
    uint64_t vsid = segment->vsid << (segment->is_1t ? 24 : 12) | (segment->is_1t ? SLB_1T : 0) |
                    (segment->is_large ? SLB_64K : 0);
    uint64_t esid =
        (segment->address & ~(segment->is_1t ? OFFSET_1T : OFFSET_256M)) | SLB_VALID | i;
    __asm__ volatile("slbmte %0, %1" ::"r"(vsid), "r"(esid) : "memory");
  }
  __asm__ volatile("isync" ::: "memory");
}

void MapIdentity(void) {
  const struct Segment* segment = &segments[kIdentitySegment];
  for (uint64_t address = 0; address < IDENTITY_END; address += PageBytes(segment)) {
    struct HcallResult result = {H_PTEG_FULL, 0, 0};
    for (int secondary = 0; secondary < 2 && result.status == H_PTEG_FULL; secondary++) {
      result = Enter(segment, address, address, secondary, -1, V_BOLTED);
    }
    if (result.status != H_SUCCESS) Fail(kEnter, address, result.status, H_SUCCESS);
  }
}

uint64_t EntryV(const struct Page* page) {
  return SegmentV(&segments[page->segment], page->address, page->secondary);
}

void EnterPage(int number, uint64_t choice) {
  struct Page* page = PageAt(number);
  int secondary = (choice & 7) == 0;
  int slot = (choice & 0x18) == 0 ? (int)(choice >> 5 & 7) : -1;
  struct HcallResult result = {H_PTEG_FULL, 0, 0};
  for (int attempt = 0; attempt < 3 && result.status == H_PTEG_FULL; attempt++) {
    // Full: any slot of this group, then of the other.
    if (attempt > 0 && slot < 0) secondary = !secondary;
    if (attempt > 0) slot = -1;
    result = Enter(&segments[page->segment], page->address, page->real, secondary, slot, 0);
  }
  if (result.status != H_SUCCESS) {
    Fail(kEnter, number, result.status, H_SUCCESS);
    return;
  }
  page->ptex = result.r4;
  page->state = kReadWrite;
  page->secondary = secondary;
  page->changed = kUnchanged;
  Report()->enters++;
}

void RemovePage(int number) {
  struct Page* page = PageAt(number);
  struct HcallResult result = Hcall(H_REMOVE, H_AVPN, page->ptex, EntryV(page) & ~0x7full, 0);
  if (result.status == H_SUCCESS) {
    CheckEntry(kRemovedEntry, number, result.r4, result.r5);
  } else {
    Fail(kRemove, number, result.status, page->ptex);
  }
  page->state = kUnmapped;
  Report()->removals++;
}

void CheckEntry(uint64_t check, int number, uint64_t v, uint64_t r) {
  const struct Page* page = PageAt(number);
  uint64_t wanted_v = EntryV(page);
  uint64_t wanted_r = SegmentR(&segments[page->segment], page->real, page->state == kReadOnly) |
                      (page->changed == kChanged ? R_CHANGED | R_REFERENCED : 0);
  // Without a store the hardware may have set R for a load, or not yet.
  uint64_t known = page->changed == kChanged ? ~0ull : ~R_REFERENCED;
  if (check == kReadEntry && page->changed == kCleared) known &= ~R_CHANGED;
  if ((v & ~V_SOFTWARE) != wanted_v) Fail(check, number, v, wanted_v);
  if ((r & known) != wanted_r) Fail(check, number, r, wanted_r);
}
