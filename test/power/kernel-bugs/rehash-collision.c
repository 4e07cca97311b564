// A resize to the same order with one bolted entry in two groups, as only a writer of the
// descriptor can put it: both move to one slot, and the kernel stops the task, with the VM's lock
// taken.

#include "fault.h"

// The first entry of the real-mode area makes the MMU ready, without which COMMIT is refused.
#define REAL_MODE_V 0x4001ffffff000001ull
// A page of 16 MiB: its group follows from its address alone.
#define LARGE_V 0x1015ull
#define LARGE_R 0x9000000010ull

static void Collide(void) {
  int vm = NewVm();
  Must(Allocate(vm, 18), "KVM_PPC_ALLOCATE_HTAB");
  int writer = OpenHtab(vm, KVM_GET_HTAB_WRITE);
  Put(writer, 24, LARGE_V, LARGE_R);
  Put(writer, 32, LARGE_V, LARGE_R);
  Put(writer, 16383, REAL_MODE_V, 0x190);
  Resize(vm, 18);
}

int main(int argc, char** argv) {
  MayCrash(argc, argv);
  int killer = KilledBy(Collide);
  return Verdict(killer != 0, "ENOSPC", killer == 0 ? "the call returned" : "killed by signal %d",
                 killer);
}
