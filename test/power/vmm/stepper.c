// A VM whose every step is commanded: its ioctls, and a guest that makes one hypercall, load or
// store at a time.
//
// Usage: stepper SOCKET
//
//   allocate ORDER           ok RESULT, or errno NUMBER; and so the two after it
//   prepare ORDER
//   commit ORDER
//   configure FLAGS TABLE    the same: KVM_PPC_CONFIGURE_V3_MMU
//   open FLAGS START         ok, with an HTAB descriptor; or errno NUMBER
//   hcall NR ARGUMENT...     ok R3 R4 .. R11
//   segment ESID VSID        ok: slbmte with these RB and RS, after slbia
//   load EA                  ok VALUE, or fault VECTOR DSISR DAR
//   store EA VALUE           the same
//   spin                     ok: the vcpu is in KVM_RUN, and stays there
//   halt                     ok: it has left KVM_RUN
//   unmap                    ok: UnmapGuestMemory
//   dirty-log                ok BITMAP: KVM_GET_DIRTY_LOG, which collects C bits
//   quit                     ok
// All numbers but errno's are hexadecimal.
//
// The guest's code needs an entry that maps it. It is in the table only while the guest does a
// step, and its changed-mark is taken before a reader can see it: the table and its marks are what
// the commands made them.

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "control.h"
#include "vm.h"

#define VECTORS_BEGIN 0x100ull
#define VECTORS_END 0x1000ull
#define VECTOR_BYTES 0x80ull
#define MAX_ARGUMENTS 10
// The real-mode area's first page, which hashes to the last group.
#define CODE_V 0x4001ffffff000001ull
#define CODE_R 0x190ull
#define CODE_SLOT 6

extern const char stubs[], stub_hcall[], stub_load[], stub_store[], stub_segment[], stub_spin[],
    stub_interrupt[], stubs_end[];

static uint8_t* memory;
static struct Vm vm;
static struct Vcpu* const vcpu = &vm.vcpus[0];
static int writer;  // an HTAB write descriptor: it tracks no changes and disturbs no reader
static pthread_t spinner;
static volatile int is_spinning;

static uint32_t CodePtex(void) { return (1u << (vm.order - 4)) - 8 + CODE_SLOT; }

// Maps the guest's code, or takes the mapping away again.
static void MapCode(int is_mapped) {
  struct {
    struct kvm_get_htab_header header;
    uint64_t v;
    uint64_t r;
  } record = {
      {CodePtex(), is_mapped, !is_mapped}, __builtin_bswap64(CODE_V), __builtin_bswap64(CODE_R)};
  size_t length = is_mapped ? sizeof record : sizeof record.header;
  Must(write(writer, &record, length) == (ssize_t)length ? 0 : -1, "map the guest's code");

  // The first pass of a descriptor takes the marks of the entries it brings: of this one, and,
  // since a run of invalid entries needs no room, of invalid ones behind it in the group.
  char taken[41];
  int reader = Must(VmOpenHtab(&vm, 0, CodePtex()), "KVM_PPC_GET_HTAB_FD");
  Must(read(reader, taken, is_mapped ? 41 : 25), "read");
  close(reader);
}

// Runs a stub. Returns 0, or the vector of the interrupt that came instead.
static uint64_t Step(const char* stub, uint64_t msr, struct kvm_regs* regs) {
  CompleteExit(vcpu);
  struct kvm_regs start;
  Must(ioctl(vcpu->fd, KVM_GET_REGS, &start), "KVM_GET_REGS");
  memcpy(start.gpr + 3, regs->gpr + 3, 9 * sizeof *regs->gpr);
  start.pc = stub - stubs;
  start.msr = msr;
  Must(ioctl(vcpu->fd, KVM_SET_REGS, &start), "KVM_SET_REGS");
  MapCode(1);
  enum RunResult result;
  do {
    result = RunVcpu(vcpu);
  } while (result == kInterrupted);
  if (result == kUnexpectedExit) {
    fprintf(stderr, "KVM_RUN ended with exit reason %u\n", vcpu->run->exit_reason);
    exit(1);
  }
  MapCode(0);
  Must(ioctl(vcpu->fd, KVM_GET_REGS, regs), "KVM_GET_REGS");
  return regs->pc < VECTORS_BEGIN ? 0 : regs->pc & ~(VECTOR_BYTES - 1);
}

static void ReplyFault(int peer, uint64_t vector) {
  Reply(peer, "fault %lx %lx %lx", vector, GetRegister(vcpu, KVM_REG_PPC_DSISR),
        GetRegister(vcpu, KVM_REG_PPC_DAR));
}

static void Hypercall(int peer, const uint64_t* arguments, int count) {
  struct kvm_regs regs = {0};
  memcpy(regs.gpr + 3, arguments, count * sizeof *arguments);
  uint64_t vector = Step(stub_hcall, MSR_REAL_MODE, &regs);
  if (vector != 0) {
    ReplyFault(peer, vector);
    return;
  }
  const __u64* r = regs.gpr;
  Reply(peer, "ok %lx %lx %lx %lx %lx %lx %lx %lx %lx", r[12], r[4], r[5], r[6], r[7], r[8], r[9],
        r[10], r[11]);
}

static void Access(int peer, const char* stub, uint64_t msr, const uint64_t* arguments) {
  struct kvm_regs regs = {0};
  regs.gpr[4] = arguments[0];
  regs.gpr[5] = arguments[1];
  uint64_t vector = Step(stub, msr, &regs);
  if (vector == 0) {
    Reply(peer, "ok %lx", regs.gpr[5]);
  } else {
    ReplyFault(peer, vector);
  }
}

static void* SpinThread(void* unused) {
  while (is_spinning) RunVcpu(vcpu);
  return unused;
}

static void Spin(void) {
  struct kvm_regs regs;
  CompleteExit(vcpu);
  Must(ioctl(vcpu->fd, KVM_GET_REGS, &regs), "KVM_GET_REGS");
  regs.pc = stub_spin - stubs;
  regs.msr = MSR_REAL_MODE;
  Must(ioctl(vcpu->fd, KVM_SET_REGS, &regs), "KVM_SET_REGS");
  MapCode(1);
  is_spinning = 1;
  errno = pthread_create(&spinner, NULL, SpinThread, NULL);
  Must(errno == 0 ? 0 : -1, "pthread_create");
  // Even a write of nothing is refused while the vcpu is in KVM_RUN.
  while (write(writer, "", 0) == 0) usleep(1000);
}

static void Halt(void) {
  is_spinning = 0;
  // The signal may come just before KVM_RUN begins; then immediate_exit ends it.
  vcpu->run->immediate_exit = 1;
  pthread_kill(spinner, SIGUSR1);
  pthread_join(spinner, NULL);
  vcpu->run->immediate_exit = 0;
  MapCode(0);
}

static void ReplyResult(int peer, int result) {
  if (result < 0) {
    Reply(peer, "errno %d", errno);
  } else {
    Reply(peer, "ok %x", result);
  }
}

static void Allocate(int peer, uint64_t order) {
  int result = VmAllocateHtab(&vm, order);
  if (result == 0) {
    // The first entry of the real-mode area decides its page size: this one, not one a client
    // writes.
    MapCode(1);
    MapCode(0);
  }
  ReplyResult(peer, result);
}

static void Resize(int peer, unsigned long request, uint64_t order) {
  struct kvm_ppc_resize_hpt resize = {.shift = order};
  int result = ioctl(vm.fd, request, &resize);
  if (result == 0 && request == KVM_PPC_RESIZE_HPT_COMMIT) vm.order = order;
  ReplyResult(peer, result);
}

static void Configure(int peer, const uint64_t* arguments) {
  struct kvm_ppc_mmuv3_cfg config = {.flags = arguments[0], .process_table = arguments[1]};
  ReplyResult(peer, ioctl(vm.fd, KVM_PPC_CONFIGURE_V3_MMU, &config));
}

static void ReplyDirtyLog(int peer) {
  uint64_t bitmap[DIRTY_LOG_WORDS];
  VmTakeDirtyLog(&vm, bitmap);
  ReplyWithBytes(peer, bitmap, MEMORY_BYTES / sysconf(_SC_PAGESIZE) / 8);
}

static int ParseArguments(const char* text, uint64_t* arguments) {
  int count = 0;
  for (char* end; count < MAX_ARGUMENTS; text = end) {
    arguments[count] = strtoull(text, &end, 16);
    if (end == text) break;
    count++;
  }
  return count;
}

static void Answer(int peer, const char* command, const char* text) {
  uint64_t arguments[MAX_ARGUMENTS] = {0};
  int count = ParseArguments(text, arguments);
  if (strcmp(command, "allocate") == 0) {
    Allocate(peer, arguments[0]);
  } else if (strcmp(command, "prepare") == 0) {
    Resize(peer, KVM_PPC_RESIZE_HPT_PREPARE, arguments[0]);
  } else if (strcmp(command, "commit") == 0) {
    Resize(peer, KVM_PPC_RESIZE_HPT_COMMIT, arguments[0]);
  } else if (strcmp(command, "configure") == 0) {
    Configure(peer, arguments);
  } else if (strcmp(command, "open") == 0) {
    ReplyWithFd(peer, VmOpenHtab(&vm, arguments[0], arguments[1]), "ok");
  } else if (strcmp(command, "hcall") == 0) {
    Hypercall(peer, arguments, count);
  } else if (strcmp(command, "segment") == 0) {
    Access(peer, stub_segment, MSR_REAL_MODE, arguments);
  } else if (strcmp(command, "load") == 0) {
    Access(peer, stub_load, MSR_REAL_MODE | MSR_DATA_TRANSLATION, arguments);
  } else if (strcmp(command, "store") == 0) {
    Access(peer, stub_store, MSR_REAL_MODE | MSR_DATA_TRANSLATION, arguments);
  } else if (strcmp(command, "spin") == 0) {
    Spin();
    Reply(peer, "ok");
  } else if (strcmp(command, "halt") == 0) {
    Halt();
    Reply(peer, "ok");
  } else if (strcmp(command, "unmap") == 0) {
    UnmapGuestMemory(memory);
    Reply(peer, "ok");
  } else if (strcmp(command, "dirty-log") == 0) {
    ReplyDirtyLog(peer);
  } else if (strcmp(command, "quit") == 0) {
    Reply(peer, "ok");
    exit(0);
  } else {
    Reply(peer, "error unknown command");
  }
}

static void Ignore(int signal) { (void)signal; }

int main(int argc, char** argv) {
  if (argc != 2) return 2;
  struct sigaction wake = {.sa_handler = Ignore};
  Must(sigaction(SIGUSR1, &wake, NULL), "sigaction");
  int descriptor;
  memory = AllocateGuestMemory(&descriptor);
  memcpy(memory, stubs, stubs_end - stubs);
  for (uint64_t vector = VECTORS_BEGIN; vector < VECTORS_END; vector += VECTOR_BYTES) {
    memcpy(memory + vector, stub_interrupt, stubs_end - stub_interrupt);
  }
  __builtin___clear_cache((char*)memory, (char*)memory + VECTORS_END);
  vm = VmCreate(memory, 1);
  VmAddVcpu(&vm, 0);
  writer = Must(VmOpenHtab(&vm, KVM_GET_HTAB_WRITE, 0), "KVM_PPC_GET_HTAB_FD");
  Serve(argv[1], Answer);
}
