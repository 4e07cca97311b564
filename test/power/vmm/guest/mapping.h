#ifndef KVM_HTAB_TEST_POWER_VMM_GUEST_MAPPING_H_
#define KVM_HTAB_TEST_POWER_VMM_GUEST_MAPPING_H_

// The checking guest's pages, and their entries in its hashed page table.

#include <stdint.h>

#include "vcpu.h"

enum { kWordsPerPage = 8 };  // doublewords that the guest uses in each page

enum PageState { kUnmapped, kReadWrite, kReadOnly };

// What a page's entry says of stores: C is set if one has gone through it since it was entered or
// cleared. While the host has a page unmapped, H_CLEAR_MOD does not reach what H_READ shows: it may
// show C until the next access (kernel-abi.md 6).
enum Changed { kUnchanged, kChanged, kCleared };

struct Page {
  uint64_t address;  // effective
  uint64_t real;
  uint32_t ptex;
  uint8_t state;
  uint8_t segment;
  uint8_t changed;
  uint8_t secondary;  // the entry is in its secondary group
  uint32_t generation[kWordsPerPage];
};

struct Segment {
  uint64_t address;
  uint64_t vsid;
  uint64_t stride;  // from page to page
  uint32_t pages;
  uint8_t is_1t;
  uint8_t is_large;  // pages of 64 KiB
};

enum { kIdentitySegment = 0, kSegments = 7 };

extern struct Segment segments[kSegments];
extern int page_count;

static inline struct Page* PageAt(int number) { return (struct Page*)PAGES_ADDRESS + number; }
static inline uint64_t PageShift(const struct Segment* segment) {
  return segment->is_large ? 16 : 12;
}
static inline uint64_t PageBytes(const struct Segment* segment) {
  return 1ull << PageShift(segment);
}

// Finds out which page sizes the host takes.
void ChoosePageSizes(void);
// Loads the segment lookaside buffer of this vcpu.
void LoadSegments(void);
// Maps all below IDENTITY_END to itself, with bolted entries.
void MapIdentity(void);

// Fills all pages and enters them.
void CreatePages(void);

// What a word of a page holds, as long as everything is well.
uint64_t ExpectedWord(int number, int word);
// Words are spread over the page, at other offsets in every page.
uint64_t WordOffset(int number, int word);

// First doubleword of the page's entry, without software bits, and with V set.
uint64_t EntryV(const struct Page* page);
// Enters the page read-write: `choice` picks group and slot.
void EnterPage(int number, uint64_t choice);
// Removes its entry, and checks what H_REMOVE tells of it.
void RemovePage(int number);
// Checks both doublewords of the page's entry.
void CheckEntry(uint64_t check, int number, uint64_t v, uint64_t r);

#endif  // KVM_HTAB_TEST_POWER_VMM_GUEST_MAPPING_H_
