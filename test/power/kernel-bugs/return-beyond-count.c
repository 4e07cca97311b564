// A write of 16 bytes, which end in the middle of an entry: the kernel takes 8 bytes from behind
// them, and returns 24.

#include "fault.h"

int main(void) {
  int vm = NewVm();
  Must(Allocate(vm, 18), "KVM_PPC_ALLOCATE_HTAB");
  int writer = OpenHtab(vm, KVM_GET_HTAB_WRITE);
  struct Record record = EntryAt(5, 0x11, 0x10);
  int written = write(writer, &record, 16);
  int is_there = ReadEntry(vm, 5).v != 0;
  return Verdict(written > 16 || is_there, "at most 16 bytes written, no entry of theirs",
                 "%d returned, entry 5 %s", written, is_there ? "valid" : "not there");
}
