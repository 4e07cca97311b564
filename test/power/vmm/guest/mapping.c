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

enum { kAttempts = 16 };

int page_count;

struct Segment segments[kSegments] = {
    {0x00000000ull, 0x0a1, 0x1000, 512, 0, 0},
    {0x10000000ull, 0x123, 0x1000, 1024, 0, 0},
    {0x20000000ull, 0x2345, 0x10000, 96, 0, 1},
    {0x30000000ull, 0x777, 0x21000, 512, 0, 0},
    {0x10000000000ull, 0x77, 0x1000, 1024, 1, 0},
    {0x20000000000ull, 0x5a5, 0x110000, 96, 1, 1},
    // With a table of order 22 all of these hash to 32 groups: they and others fill those, but
    // never a secondary group as well.
    {0x30000000000ull, 0x3001, 0x400000, 320, 1, 0},
};

static uint64_t HashedGroup(const struct Segment* segment, uint64_t address, int secondary) {
  uint64_t offset = address & (segment->is_1t ? OFFSET_1T : OFFSET_256M);
  uint64_t hash = segment->vsid ^ offset >> PageShift(segment);
  if (segment->is_1t) hash ^= segment->vsid << 25;
  uint64_t groups = 1ull << (Settings()->order - 7);
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

void ChoosePageSizes(void) {
  struct Segment* large = &segments[2];
  struct HcallResult probe = Enter(large, large->address, LARGE_PAGES_ADDRESS, 0, -1, 0);
  if (probe.status == H_SUCCESS) {
    Hcall(H_REMOVE, 0, probe.r4, 0, 0);
  } else if (probe.status == H_PARAMETER) {
    // Memory here stands on pages of 4 KiB: larger ones cannot map it.
    for (int i = 0; i < kSegments; i++) segments[i].is_large = 0;
  }
}

void LoadSegments(void) {
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

uint64_t ExpectedWord(int number, int word) {
  return Mix(number * kWordsPerPage + word, PageAt(number)->generation[word]);
}

uint64_t WordOffset(int number, int word) {
  return word * (PageBytes(&segments[PageAt(number)->segment]) / kWordsPerPage) + 8 * (number % 29);
}

static void CreatePage(int number, int s, uint64_t address, uint64_t real) {
  struct Page* page = PageAt(number);
  page->address = address;
  page->segment = s;
  page->real = real;
  for (int word = 0; word < kWordsPerPage; word++) {
    page->generation[word] = 0;
    *(volatile uint64_t*)(real + WordOffset(number, word)) = ExpectedWord(number, word);
  }
}

// Deals the real pages that are not in use out to the vcpus.
static void DealFreePages(int is_large, uint64_t first, uint64_t end, uint64_t bytes) {
  for (uint64_t i = 0; first < end; i++, first += bytes) {
    struct Vcpu* vcpu = VcpuAt(i % Settings()->vcpus);
    vcpu->free_pages[is_large][vcpu->free_count[is_large]++] = first;
  }
}

void CreatePages(void) {
  uint64_t small = SMALL_PAGES_ADDRESS, large = LARGE_PAGES_ADDRESS;
  for (int s = kIdentitySegment + 1; s < kSegments; s++) {
    uint64_t* real = segments[s].is_large ? &large : &small;
    for (uint64_t i = 0; i < segments[s].pages; i++, *real += PageBytes(&segments[s])) {
      CreatePage(page_count++, s, segments[s].address + i * segments[s].stride, *real);
    }
  }
  DealFreePages(0, small, SMALL_PAGES_END, 0x1000);
  DealFreePages(1, large, LARGE_PAGES_END, 0x10000);
  for (int number = 0; number < page_count; number++) EnterPage(number, Random());
}

uint64_t EntryV(const struct Page* page) {
  return SegmentV(&segments[page->segment], page->address, page->secondary);
}

void EnterPage(int number, uint64_t choice) {
  struct Page* page = PageAt(number);
  int secondary = (choice & 7) == 0;
  int slot = (choice & 0x18) == 0 ? (int)(choice >> 5 & 7) : -1;
  struct HcallResult result = {H_PTEG_FULL, 0, 0};
  // Full: any slot of this group, then of the other, by turns: while this vcpu asks for one of the
  // two, another vcpu may fill it and make room in the other.
  for (int attempt = 0; attempt < kAttempts && result.status == H_PTEG_FULL; attempt++) {
    if (attempt > 0) Report()->full_groups++;
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
