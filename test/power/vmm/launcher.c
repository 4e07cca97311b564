// Makes a VM with a table of order 18 and one entry, and starts a program that inherits its
// descriptors: as number 3 the HTAB read descriptor, 4 the HTAB write descriptor, 5 the VM's own.
// Stays the VM's owner until the program ends, and ends as it does.
//
// Usage: launcher PROGRAM ARGUMENT...

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "vm.h"

#define FIRST_FD 3

int main(int argc, char** argv) {
  if (argc < 2) return 2;
  int memory;
  struct Vm vm = VmCreate(AllocateGuestMemory(&memory), 0);
  Must(VmAllocateHtab(&vm, 18), "KVM_PPC_ALLOCATE_HTAB");
  int fds[] = {Must(VmOpenHtab(&vm, 0, 0), "KVM_PPC_GET_HTAB_FD"),
               Must(VmOpenHtab(&vm, KVM_GET_HTAB_WRITE, 0), "KVM_PPC_GET_HTAB_FD"), vm.fd};
  const uint8_t record[] = {5, 0, 0, 0, 1, 0, 0, 0,      // index 5, one valid entry
                            0, 0, 0, 0, 0, 0, 0, 0x11,   // v: bolted, valid
                            0, 0, 0, 0, 0, 0, 1, 0x90};  // r: R, C, M
  Must(write(fds[1], record, sizeof record), "write");

  pid_t child = Must(fork(), "fork");
  if (child == 0) {
    // Out of the way first: the numbers wanted may be in use among them.
    int moved[3];
    for (int i = 0; i < 3; i++) moved[i] = Must(fcntl(fds[i], F_DUPFD_CLOEXEC, 64), "dup");
    for (int i = 0; i < 3; i++) Must(dup2(moved[i], FIRST_FD + i), "dup2");
    execvp(argv[1], argv + 1);
    Must(-1, argv[1]);
  }
  int status;
  Must(waitpid(child, &status, 0), "waitpid");
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}
