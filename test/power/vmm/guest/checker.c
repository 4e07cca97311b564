// A guest that runs translated through its hashed page table, keeps changing the table by
// hypercalls, and checks every load, every hypercall's answer, every fault that is due and a few
// registers. It is deterministic: with the same seed, order and page sizes its checksum at an
// iteration is the same wherever it ran until then.

#include "hypercalls.h"
#include "mapping.h"

#define MSR_EXTERNAL_INTERRUPTS 0x8000ull
#define MSR_TRANSLATION 0x30ull
#define MSR_RECOVERABLE 0x02ull
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
#define PVR_POWER9 0x4e
#define VECTORS_END 0x1000ull
#define VECTOR_BYTES 0x80ull

#define READ_SPR(number)                                      \
  ({                                                          \
    uint64_t spr_value;                                       \
    __asm__ volatile("mfspr %0, " #number : "=r"(spr_value)); \
    spr_value;                                                \
  })
#define WRITE_SPR(number, value) __asm__ volatile("mtspr " #number ", %0" ::"r"((uint64_t)(value)))

extern const char handle_data_storage[], handle_data_storage_end[];
extern const char handle_decrementer[], handle_decrementer_end[];
extern const char handle_unexpected[], handle_unexpected_end[];

static int page_count;
static int free_small;
static int free_large;

static uint64_t SwitchMsr(uint64_t clear, uint64_t set) {
  uint64_t before;
  __asm__ volatile("mfmsr %0" : "=r"(before));
  __asm__ volatile("mtmsrd %0\n isync" ::"r"((before & ~clear) | set) : "memory");
  return before;
}

static void CopyBytes(uint64_t to, const char* from, const char* end) {
  volatile char* target = (volatile char*)to;
  while (from < end) *target++ = *from++;
}

static void InstallVectors(void) {
  for (uint64_t vector = 0x100; vector < VECTORS_END; vector += VECTOR_BYTES) {
    CopyBytes(vector, handle_unexpected, handle_unexpected_end);
  }
  CopyBytes(0x300, handle_data_storage, handle_data_storage_end);
  CopyBytes(0x900, handle_decrementer, handle_decrementer_end);
  for (uint64_t line = 0; line < VECTORS_END; line += 32) {
    __asm__ volatile("dcbst 0, %0\n sync\n icbi 0, %0" ::"r"(line) : "memory");
  }
  __asm__ volatile("sync\n isync" ::: "memory");
}

static uint64_t* FreePages(int is_large) {
  return (uint64_t*)(uintptr_t)(is_large ? FREE_LARGE_ADDRESS : FREE_SMALL_ADDRESS);
}

// What a word of a page holds, as long as everything is well.
static uint64_t ExpectedWord(int number, int word) {
  return Mix(number * kWordsPerPage + word, PageAt(number)->generation[word]);
}

// Words are spread over the page, at other offsets in every page.
static uint64_t WordOffset(int number, int word) {
  return word * (PageBytes(&segments[PageAt(number)->segment]) / kWordsPerPage) + 8 * (number % 29);
}

static void CreatePages(void) {
  uint64_t small = 0, large = 0;
  for (int s = kIdentitySegment + 1; s < kSegments; s++) {
    for (uint64_t i = 0; i < segments[s].pages; i++) {
      struct Page* page = PageAt(page_count);
      page->address = segments[s].address + i * segments[s].stride;
      page->segment = s;
      page->real = segments[s].is_large ? LARGE_PAGES_ADDRESS + 0x10000ull * large++
                                        : SMALL_PAGES_ADDRESS + 0x1000ull * small++;
      for (int word = 0; word < kWordsPerPage; word++) {
        page->generation[word] = 0;
        *(volatile uint64_t*)(page->real + WordOffset(page_count, word)) =
            ExpectedWord(page_count, word);
      }
      page_count++;
    }
  }
  Report()->large_pages = large;
  while (small < SMALL_PAGES_COUNT) {
    FreePages(0)[free_small++] = SMALL_PAGES_ADDRESS + 0x1000ull * small++;
  }
  while (large < LARGE_PAGES_COUNT) {
    FreePages(1)[free_large++] = LARGE_PAGES_ADDRESS + 0x10000ull * large++;
  }
  for (int number = 0; number < page_count; number++) EnterPage(number, Random());
}

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

static void AccessUnmapped(int number, uint64_t choice) {
  AccessMustFault(number, choice & 1, DSISR_NO_ENTRY);
  if ((choice & 2) == 0) return;
  EnterPage(number, choice >> 8);
  Report()->unmapped--;
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
  uint64_t* candidates = FreePages(segment->is_large);
  int chosen = choice % (segment->is_large ? free_large : free_small);
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
  if (Report()->unmapped >= (uint64_t)page_count / 8) return;
  RemovePage(number);
  Report()->unmapped++;
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
    int number = (first + i * 7) % page_count;
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

// Registers that a move to another vcpu must not lose.
static const uint64_t kVrsave = 0x12345678, kTar = 0x1122334455667788, kDscr = 7,
                      kAmr = 0x3000000000000000, kEbbhr = 0x0badcafe12345678;
static uint64_t last_time;

static void SetRegisters(void) {
  WRITE_SPR(256, kVrsave);
  WRITE_SPR(815, kTar);
  WRITE_SPR(17, kDscr);
  WRITE_SPR(29, kAmr);
  WRITE_SPR(804, kEbbhr);
  last_time = READ_SPR(268);
}

static void CheckRegister(uint64_t number, uint64_t got, uint64_t wanted) {
  if (got != wanted) Fail(kRegister + number, 0, got, wanted);
}

static void CheckRegisters(void) {
  CheckRegister(0, READ_SPR(256), kVrsave);
  CheckRegister(1, READ_SPR(815), kTar);
  CheckRegister(2, READ_SPR(17), kDscr);
  CheckRegister(3, READ_SPR(29), kAmr);
  // On POWER9 the kernel saves EBBHR only for a guest that was granted event-based branches; until
  // then the processor keeps it, for whatever runs there next.
  if (READ_SPR(287) >> 16 != PVR_POWER9) CheckRegister(4, READ_SPR(804), kEbbhr);
  uint64_t time = READ_SPR(268);
  if (time < last_time) Fail(kTimeBase, 0, time, last_time);
  last_time = time;
}

static void Step(void) {
  uint64_t choice = Random();
  uint64_t more = Random();
  int number = (choice >> 20) % page_count;
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

void RunChecker(void) {
  volatile struct Report* report = Report();
  SeedRandom(report->seed);
  InstallVectors();
  SetUpSegments();
  MapIdentity();
  CreatePages();
  __asm__ volatile("mtdec %0" ::"r"(0x100000));
  SwitchMsr(0, MSR_TRANSLATION | MSR_RECOVERABLE | MSR_EXTERNAL_INTERRUPTS);
  SetRegisters();
  report->phase = kRunning;
  while (report->last_iteration == 0 || report->iteration < report->last_iteration) {
    Step();
    report->iteration++;
    if ((report->iteration & 15) == 0) CheckRegisters();
  }
  report->phase = kFinished;
  for (;;) Hcall(0x58, 1, 0, 0, 0);
}
