// An order that no table has: the kernel frees the guest's table before it refuses the order.

#include "fault.h"

int main(void) {
  int vm = NewVm();
  Must(Allocate(vm, 18), "KVM_PPC_ALLOCATE_HTAB");
  Put(OpenHtab(vm, KVM_GET_HTAB_WRITE), 3, 0x11, 0x10);
  int is_refused = Allocate(vm, 17) < 0 && errno == EINVAL;
  int is_there = ReadEntry(vm, 3).v != 0;
  return Verdict(!is_refused || !is_there, "EINVAL, and the table as it was", "%s, entry 3 %s",
                 is_refused ? "EINVAL" : "no EINVAL", is_there ? "still there" : "lost");
}
