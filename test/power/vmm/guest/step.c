#include "step.h"

#include "hypercalls.h"
#include "mapping.h"

#define DSISR_NO_ENTRY 0x40000000ull
#define DSISR_PROTECTED 0x08000000ull
#define DSISR_STORE 0x02000000ull
#define PROTECT_READ_WRITE 2
#define PROTECT_READ_ONLY 3
#define BULK_REQUEST (1ull << 62)
#define BULK_END (3ull << 62)
#define BULK_AVPN (2ull << 56)
#define BULK_REMOVED (0x82ull << 56)
#define BULK_R (0x08ull << 56)
#define BULK_C (0x04ull << 56)

// A load or store that must fault, and how.
static void AccessMustFault(int number, int is_store, uint64_t status) {
  volatile struct Report* report = Report();
  uint64_t address = PageAt(number)->address + WordOffset(number, 3);
  uint64_t outcome, value = 0;
  report->fault_dsisr = report->fault_dar = 0;
  if (is_store) {
    __asm__ volatile("mtspr 275, %3\n std %2, 0(%1)\n mfspr %0, 275"
                     : "=&r"(outcome)
                     : "b"(address), "r"(value), "r"(1ull)
                     : "memory");
  } else {
    __asm__ volatile("mtspr 275, %3\n ld %1, 0(%2)\n mfspr %0, 275"
                     : "=&r"(outcome), "+r"(value)
                     : "b"(address), "r"(1ull)
                     : "memory");
  }
  WRITE_SPR(275, 0);
  report->faults++;
  uint64_t wanted = status | (is_store ? DSISR_STORE : 0);
  uint64_t known = DSISR_NO_ENTRY | DSISR_PROTECTED | DSISR_STORE;
  if (outcome != 2) {
    Fail(kFault, number, outcome, is_store);
  } else if ((report->fault_dsisr & known) != wanted) {
    Fail(kFaultStatus, number, report->fault_dsisr, wanted);
  } else if (report->fault_dar != address) {
    Fail(kFaultAddress, number, report->fault_dar, address);
  }
}

static uint64_t* UnmappedInShare(int number) {
  return &VcpuAt(number % Settings()->vcpus)->unmapped;
}

static void AccessUnmapped(int number, uint64_t choice) {
  AccessMustFault(number, choice & 1, DSISR_NO_ENTRY);
  if ((choice & 2) == 0) return;
  EnterPage(number, choice >> 8);
  (*UnmappedInShare(number))--;
}

static void Access(int number, uint64_t choice) {
  struct Page* page = PageAt(number);
  volatile struct Report* report = Report();
  int words = 1 + (choice & 3);
  for (int i = 0; i < words; i++) {
    int word = choice >> (4 + 3 * i) & 7;
    volatile uint64_t* address = (volatile uint64_t*)(page->address + WordOffset(number, word));
    uint64_t value = *address;
    report->loads++;
    if (page->changed == kCleared) page->changed = kUnchanged;
    if (value != ExpectedWord(number, word)) {
      Fail(kValue, number, value, ExpectedWord(number, word));
    }
    report->checksum = Mix(report->checksum, value);
    if (page->state == kReadOnly) {
      if (i == 0) AccessMustFault(number, 1, DSISR_PROTECTED);
    } else if (choice >> (40 + i) & 1) {
      page->generation[word]++;
      *address = ExpectedWord(number, word);
      page->changed = kChanged;
      report->stores++;
    }
  }
}

// Gives the page another real page; its contents are copied in real mode.
static void MovePage(int number, uint64_t choice) {
  struct Page* page = PageAt(number);
  const struct Segment* segment = &segments[page->segment];
  uint32_t* candidates = self->free_pages[segment->is_large];
  int chosen = choice % self->free_count[segment->is_large];
  RemovePage(number);
  uint64_t from = page->real;
  uint64_t to = candidates[chosen];
  uint64_t msr = SwitchMsr(MSR_TRANSLATION, 0);
  for (uint64_t offset = 0; offset < PageBytes(segment); offset += 8) {
    *(volatile uint64_t*)(to + offset) = *(volatile uint64_t*)(from + offset);
  }
  SwitchMsr(~0ull, msr);
  candidates[chosen] = from;
  page->real = to;
  EnterPage(number, choice >> 20);
}

static void UnmapPage(int number) {
  uint64_t* unmapped = UnmappedInShare(number);
  if (*unmapped >= page_count / Settings()->vcpus / 8) return;
  RemovePage(number);
  (*unmapped)++;
}

static void ProtectPage(int number) {
  struct Page* page = PageAt(number);
  int to_read_only = page->state == kReadWrite;
  uint64_t flags = H_AVPN | (to_read_only ? PROTECT_READ_ONLY : PROTECT_READ_WRITE);
  int64_t status = Hcall(H_PROTECT, flags, page->ptex, EntryV(page) & ~0x7full, 0).status;
  if (status == H_SUCCESS) {
    page->state = to_read_only ? kReadOnly : kReadWrite;
  } else {
    Fail(kProtect, number, status, page->ptex);
  }
  Report()->protects++;
}

static void ReadPage(int number) {
  struct HcallResult result = Hcall(H_READ, 0, PageAt(number)->ptex, 0, 0);
  if (result.status == H_SUCCESS) {
    CheckEntry(kReadEntry, number, result.r4, result.r5);
  } else {
    Fail(kRead, number, result.status, PageAt(number)->ptex);
  }
  Report()->reads++;
}

static void ClearMod(int number) {
  struct Page* page = PageAt(number);
  struct HcallResult result = Hcall(H_CLEAR_MOD, 0, page->ptex, 0, 0);
  int is_changed = page->changed == kChanged;
  if (result.status != H_SUCCESS || (int)(result.r4 >> 7 & 1) != is_changed) {
    Fail(kClearMod, number, result.status ? (uint64_t)result.status : result.r4, is_changed);
  }
  if (is_changed) page->changed = kCleared;
  Report()->clear_mods++;
}

// Removes up to three pages in one call, and enters them again.
static void BulkRemovePages(int first, uint64_t choice) {
  int numbers[3];
  uint64_t words[8] = {BULK_END, 0, BULK_END, 0, BULK_END, 0, BULK_END, 0};
  int count = 0;
  for (int i = 0; i < 3; i++) {
    int number = (first + i * 7 * Settings()->vcpus) % page_count;
    const struct Page* page = PageAt(number);
    if (page->state == kUnmapped) continue;
    words[2 * count] = BULK_REQUEST | BULK_AVPN | page->ptex;
    words[2 * count + 1] = EntryV(page) & ~0x7full;
    numbers[count++] = number;
  }
  int64_t status = BulkRemove(words);
  if (status != H_SUCCESS) Fail(kBulkRemove, first, status, H_SUCCESS);
  for (int i = 0; i < count; i++) {
    struct Page* page = PageAt(numbers[i]);
    int is_changed = page->changed == kChanged;
    uint64_t wanted = BULK_REMOVED | page->ptex | (is_changed ? BULK_R | BULK_C : 0);
    uint64_t known = is_changed ? ~0ull : ~BULK_R;
    if ((words[2 * i] & known) != wanted) Fail(kBulkRemove, numbers[i], words[2 * i], wanted);
    page->state = kUnmapped;
    Report()->removals++;
    EnterPage(numbers[i], choice >> (9 * i));
  }
}

void Step(uint64_t share) {
  uint64_t vcpus = Settings()->vcpus;
  uint64_t choice = Random();
  uint64_t more = Random();
  int number = (choice >> 20) % (page_count / vcpus) * vcpus + share;
  int action = choice >> 8 & 63;
  int is_unmapped = PageAt(number)->state == kUnmapped;
  // One step in eight changes the table, or looks at it.
  if (action > 7 || is_unmapped) {
    if (is_unmapped) {
      AccessUnmapped(number, more);
    } else {
      Access(number, more);
    }
  } else if (action == 0) {
    MovePage(number, more);
  } else if (action == 1) {
    UnmapPage(number);
  } else if (action == 2) {
    ProtectPage(number);
  } else if (action <= 4) {
    ReadPage(number);
  } else if (action == 5) {
    ClearMod(number);
  } else if (action == 6) {
    RemovePage(number);
    EnterPage(number, more);
  } else {
    BulkRemovePages(number, more);
  }
}
