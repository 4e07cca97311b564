// Two vcpus of a guest on one CPU make entries and remove them: on a kernel that may be preempted
// one of them waits for a lock that nobody holds, for ever, in the kernel.

#include <pthread.h>
#include <sched.h>

#include "fault.h"

#define VCPUS 2
#define SECONDS 60
// Both make thousands of calls a second.
#define STUCK_SECONDS 10
#define GROUPS_APART 16
#define ENTRY_V 0x1001ull
#define ENTRY_R 0x20192ull
// Where each vcpu counts its rounds, in a page of its own.
#define COUNT_ADDRESS(number) (0x100000ull + ((uint64_t)(number) << 16))

// H_ENTER in the group whose first entry is r31, H_REMOVE of what was made; r27 counts.
__asm__(
    ".pushsection .rodata\n"
    ".balign 4\n"
    "rounds: li 3, 8; li 4, 0; mr 5, 31; mr 6, 29; mr 7, 28; sc 1\n"
    "mr 5, 4; li 3, 4; li 4, 0; li 6, 0; sc 1\n"
    "addi 27, 27, 1; std 27, 0(30); b rounds\n"
    "rounds_end:\n"
    ".popsection");
extern const char rounds[], rounds_end[];

static struct Vcpu vcpus[VCPUS];

static void* RunForEver(void* vcpu) {
  while (ioctl(((struct Vcpu*)vcpu)->fd, KVM_RUN, 0) == 0 || errno == EINTR) continue;
  return NULL;
}

static void Begin(int number) {
  struct kvm_regs regs;
  Must(ioctl(vcpus[number].fd, KVM_GET_REGS, &regs), "KVM_GET_REGS");
  regs.pc = 0;
  regs.msr = REAL_MODE;
  regs.gpr[27] = 0;
  regs.gpr[28] = ENTRY_R;
  regs.gpr[29] = ENTRY_V;
  regs.gpr[30] = COUNT_ADDRESS(number);
  regs.gpr[31] = (uint64_t)number * GROUPS_APART * 8;
  Must(ioctl(vcpus[number].fd, KVM_SET_REGS, &regs), "KVM_SET_REGS");
  pthread_t thread;
  errno = pthread_create(&thread, NULL, RunForEver, &vcpus[number]);
  Must(errno == 0 ? 0 : -1, "pthread_create");
}

// A process that has such a vcpu never ends: nothing may wait for it, or for its output.
static void RunGuest(char* memory) {
  // A VM belongs to the process that has made it.
  int vm = NewVm();
  GiveMemory(vm, memory);
  for (int i = 0; i < VCPUS; i++) vcpus[i] = AddVcpu(vm, i);
  Must(Allocate(vm, 18), "KVM_PPC_ALLOCATE_HTAB");
  fflush(stdout);
  for (int fd = 0; fd <= 2; fd++) close(fd);
  cpu_set_t first;
  CPU_ZERO(&first);
  CPU_SET(0, &first);
  sched_setaffinity(0, sizeof first, &first);
  for (int i = 0; i < VCPUS; i++) Begin(i);
  sleep(SECONDS + STUCK_SECONDS);
  _exit(0);
}

int main(int argc, char** argv) {
  MayCrash(argc, argv);
  char* memory = NewMemory(rounds, rounds_end - rounds);
  fflush(stdout);
  if (Must(fork(), "fork") == 0) RunGuest(memory);
  uint64_t seen[VCPUS] = {0};
  int since[VCPUS] = {0};
  for (int second = 1; second <= SECONDS; second++) {
    sleep(1);
    for (int i = 0; i < VCPUS; i++) {
      uint64_t count = *(volatile uint64_t*)(memory + COUNT_ADDRESS(i));
      if (count != seen[i]) since[i] = second;
      seen[i] = count;
      if (second - since[i] < STUCK_SECONDS) continue;
      if (count == 0) {
        printf("not tried: vcpu %d does not run\n", i);
        return kUntried;
      }
      return Verdict(1, "both vcpus make entries for a minute",
                     "vcpu %d has made none for %d seconds, after %lu; the other has made %lu", i,
                     STUCK_SECONDS, (unsigned long)count, (unsigned long)seen[1 - i]);
    }
  }
  return Verdict(0, "both vcpus make entries for a minute", "%lu and %lu made",
                 (unsigned long)seen[0], (unsigned long)seen[1]);
}
