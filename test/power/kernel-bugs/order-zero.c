// Order 0 for a VM that has no table: the kernel clears memory at address 0. The task is killed,
// and the VM's lock stays taken.

#include "fault.h"

static void AllocateNothing(void) { Allocate(NewVm(), 0); }

int main(int argc, char** argv) {
  MayCrash(argc, argv);
  int killer = KilledBy(AllocateNothing);
  return Verdict(killer != 0, "EINVAL", killer == 0 ? "the call returned" : "killed by signal %d",
                 killer);
}
