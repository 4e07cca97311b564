// A write of two records with an entry each: the kernel takes the second header from the bytes of
// the first entry, and removes entries that no record names.

#include "fault.h"

int main(void) {
  int vm = NewVm();
  Must(Allocate(vm, 18), "KVM_PPC_ALLOCATE_HTAB");
  int writer = OpenHtab(vm, KVM_GET_HTAB_WRITE);
  Put(writer, 10, 0x11, 0x10);
  struct Record both[2] = {EntryAt(5000, 0x11, 0x10), EntryAt(5001, 0x11, 0x10)};
  int written = write(writer, both, sizeof both);
  int is_second = ReadEntry(vm, 5001).v != 0;
  int is_bystander = ReadEntry(vm, 10).v != 0;
  return Verdict(written != sizeof both || !is_second || !is_bystander,
                 "48 bytes written, entry 5001 valid, entry 10 left alone",
                 "%d bytes written, entry 5001 %s, entry 10 %s", written,
                 is_second ? "valid" : "not there", is_bystander ? "left alone" : "removed");
}
