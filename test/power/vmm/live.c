// The VMM of the checking guest (guest/checker.c). Another process gets the descriptors of its
// table and memory, and moves it: to another VM here, or to a VMM of its own.
//
// Usage: live SOCKET GUEST-IMAGE ORDER SEED LAST-ITERATION VCPUS   (0: they go on for ever)
//        live SOCKET incoming ORDER   (has no guest until one arrives)
//
//   open-read [N]        ok ORDER, with a read descriptor of the VM the guest runs in, from entry N
//   open-write-current   ok ORDER, with a write descriptor of that VM
//   open-write           ok ORDER, with a write descriptor of the next VM: made anew, with the
//                        same memory and an empty table
//   open-read-next       ok ORDER, with a read descriptor of the next VM
//   hold                 ok: the VMM has a read descriptor of the running guest's VM itself, as one
//                        that migrates its guest
//   release              ok: it has none any more
//   pause                ok STATE: its vcpus have left KVM_RUN
//   resume               ok
//   commit               ok: the guest goes on in the next VM, with its registers of before or
//                        with those that were set
//   drop                 ok: the next VM is closed; without a guest here, the memory is zeros again
//   unmap                ok: UnmapGuestMemory
//   stop-at ITERATION    ok: each vcpu stops there
//   stats                a JSON object, see stats.c
//   quit                 ok
//
// For commands that move the guest to the next VM here, with registers as its state:
//   rest-ms              ok 0: both VMs have the same memory
//   finish               ok LENGTH, with the registers after the line; the guest has been paused
//   can-accept           ok
//   accept LENGTH        ok: as set-registers, with the state that follows the line
//   discard              as drop
//   run                  as commit
//
// For a guest that moves as a whole:
//   memory               ok BYTES PAGE-BYTES PID FD, with the memory as a memfd; the same file can
//                        be opened as /proc/PID/fd/FD
//   dirty-log            ok BITMAP: KVM_GET_DIRTY_LOG of the VM the guest runs in
//   registers            ok BYTES: struct Registers of each vcpu; the guest has been paused
//   set-registers BYTES  ok: those of the next VM's vcpus
//   leave                ok: the guest has gone elsewhere. Its VM is closed, the memory is zeros
// BITMAP and BYTES are hexadecimal, all other numbers decimal.

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "control.h"
#include "guest/layout.h"
#include "registers.h"
#include "stats.h"
#include "vcpu_threads.h"
#include "vm.h"

_Static_assert(STACKS_ADDRESS + (MAX_VCPUS << STACK_SHIFT) <= SETTINGS_ADDRESS, "layout");
_Static_assert(VCPUS_ADDRESS + (MAX_VCPUS << VCPU_SHIFT) <= PAGES_ADDRESS, "layout");

static uint8_t* memory;
static int memory_fd;
static uint32_t order;
static struct Vm current = {.fd = -1};
static struct Vm next = {.fd = -1};
static int commits;
static int held = -1;

static struct Vm CreateWithTable(void) {
  struct Vm vm = VmCreate(memory, 1);
  Must(VmAllocateHtab(&vm, order), "KVM_PPC_ALLOCATE_HTAB");
  return vm;
}

static void Drop(void) {
  VmClose(&next);
  if (current.fd < 0) memset(memory, 0, MEMORY_BYTES);
}

// Gives the next VM vcpus with these registers.
static void AddVcpus(const struct Registers* registers, int count) {
  while (next.vcpu_count < count) VmAddVcpu(&next, CODE_ADDRESS);
  LoadRegisters(&next, registers);
}

static void SetRegisters(int peer, const char* text) {
  struct Registers registers[MAX_VCPUS];
  size_t count = strlen(text) / (2 * sizeof *registers);
  if (next.fd < 0) {
    Reply(peer, "error no next VM");
  } else if (count < 1 || count > MAX_VCPUS ||
             !ParseBytes(text, registers, count * sizeof *registers)) {
    Reply(peer, "error not %zu bytes of registers a vcpu", sizeof *registers);
  } else {
    AddVcpus(registers, count);
    Reply(peer, "ok");
  }
}

static void ReplyRegisters(int peer, void (*reply)(int peer, const void* bytes, size_t length)) {
  if (current.fd < 0 || GetGuestState() != kPaused) {
    Reply(peer, "error the guest is %s", current.fd < 0 ? "not here" : GuestStateName());
    return;
  }
  struct Registers registers[MAX_VCPUS];
  SaveRegisters(&current, registers);
  reply(peer, registers, current.vcpu_count * sizeof *registers);
}

// Gives the next VM the vcpus of this one, as they have stopped.
static void TakeVcpusOver(void) {
  struct Registers registers[MAX_VCPUS];
  SaveRegisters(&current, registers);
  AddVcpus(registers, current.vcpu_count);
}

static void Commit(int peer) {
  if (next.fd < 0) {
    Reply(peer, "error no next VM");
    return;
  }
  PauseGuest();
  if (GetGuestState() != kPaused) {
    Reply(peer, "error the guest is %s", GuestStateName());
    return;
  }
  if (next.vcpu_count == 0 && current.fd < 0) {
    Reply(peer, "error no registers");
    return;
  }
  if (next.vcpu_count == 0) TakeVcpusOver();
  VmClose(&current);
  current = next;
  next = (struct Vm){.fd = -1};
  commits++;
  SetGuestVm(&current);
  ResumeGuest();
  Reply(peer, "ok");
}

static void Leave(void) {
  PauseGuest();
  SetGuestVm(&(struct Vm){.fd = -1});
  VmClose(&current);
  memset(memory, 0, MEMORY_BYTES);
}

static void ReplyDirtyLog(int peer) {
  if (current.fd < 0) {
    Reply(peer, "error the guest is not here");
    return;
  }
  uint64_t bitmap[DIRTY_LOG_WORDS];
  VmTakeDirtyLog(&current, bitmap);
  ReplyWithBytes(peer, bitmap, MEMORY_BYTES / sysconf(_SC_PAGESIZE) / 8);
}

static void Answer(int peer, const char* command, const char* arguments) {
  if (strcmp(command, "open-read") == 0) {
    ReplyWithFd(peer, VmOpenHtab(&current, 0, strtoull(arguments, NULL, 10)), "ok %u", order);
  } else if (strcmp(command, "open-write-current") == 0) {
    ReplyWithFd(peer, VmOpenHtab(&current, KVM_GET_HTAB_WRITE, 0), "ok %u", order);
  } else if (strcmp(command, "open-write") == 0) {
    VmClose(&next);
    next = CreateWithTable();
    ReplyWithFd(peer, VmOpenHtab(&next, KVM_GET_HTAB_WRITE, 0), "ok %u", order);
  } else if (strcmp(command, "open-read-next") == 0) {
    ReplyWithFd(peer, VmOpenHtab(&next, 0, 0), "ok %u", order);
  } else if (strcmp(command, "hold") == 0) {
    held = Must(VmOpenHtab(&current, 0, 0), "KVM_PPC_GET_HTAB_FD");
    Reply(peer, "ok");
  } else if (strcmp(command, "release") == 0) {
    close(held);
    Reply(peer, "ok");
  } else if (strcmp(command, "pause") == 0) {
    PauseGuest();
    Reply(peer, "ok %s", GuestStateName());
  } else if (strcmp(command, "resume") == 0) {
    ResumeGuest();
    Reply(peer, "ok");
  } else if (strcmp(command, "commit") == 0 || strcmp(command, "run") == 0) {
    Commit(peer);
  } else if (strcmp(command, "drop") == 0 || strcmp(command, "discard") == 0) {
    Drop();
    Reply(peer, "ok");
  } else if (strcmp(command, "unmap") == 0) {
    UnmapGuestMemory(memory);
    Reply(peer, "ok");
  } else if (strcmp(command, "memory") == 0) {
    ReplyWithFd(peer, dup(memory_fd), "ok %llu %ld %d %d", MEMORY_BYTES, sysconf(_SC_PAGESIZE),
                getpid(), memory_fd);
  } else if (strcmp(command, "dirty-log") == 0) {
    ReplyDirtyLog(peer);
  } else if (strcmp(command, "registers") == 0) {
    ReplyRegisters(peer, ReplyWithBytes);
  } else if (strcmp(command, "finish") == 0) {
    ReplyRegisters(peer, ReplyWithState);
  } else if (strcmp(command, "rest-ms") == 0) {
    Reply(peer, "ok 0");
  } else if (strcmp(command, "can-accept") == 0) {
    Reply(peer, "ok");
  } else if (strcmp(command, "set-registers") == 0 || strcmp(command, "accept") == 0) {
    SetRegisters(peer, arguments);
  } else if (strcmp(command, "leave") == 0) {
    Leave();
    Reply(peer, "ok");
  } else if (strcmp(command, "stop-at") == 0) {
    ((volatile struct Settings*)(memory + SETTINGS_ADDRESS))->last_iteration =
        strtoull(arguments, NULL, 10);
    Reply(peer, "ok");
  } else if (strcmp(command, "stats") == 0) {
    ReplyStats(peer, memory, commits);
  } else if (strcmp(command, "quit") == 0) {
    PauseGuest();
    Reply(peer, "ok");
    exit(0);
  } else {
    Reply(peer, "error unknown command");
  }
}

static void LoadGuest(const char* path, char** settings) {
  int image = Must(open(path, O_RDONLY | O_CLOEXEC), "open the guest's image");
  Must(read(image, memory + CODE_ADDRESS, STACKS_ADDRESS - CODE_ADDRESS), "read the guest's image");
  close(image);
  __builtin___clear_cache((char*)memory + CODE_ADDRESS, (char*)memory + STACKS_ADDRESS);
  *(struct Settings*)(memory + SETTINGS_ADDRESS) = (struct Settings){
      .order = strtoull(settings[0], NULL, 0),
      .seed = strtoull(settings[1], NULL, 0),
      .last_iteration = strtoull(settings[2], NULL, 0),
      .vcpus = strtoull(settings[3], NULL, 0),
  };
}

int main(int argc, char** argv) {
  int is_incoming = argc == 4 && strcmp(argv[2], "incoming") == 0;
  int vcpus = argc == 7 ? atoi(argv[6]) : 0;
  if (!is_incoming && (vcpus < 1 || vcpus > MAX_VCPUS)) return 2;
  order = atoi(argv[3]);
  memory = AllocateGuestMemory(&memory_fd);
  StartVcpuThreads();
  if (!is_incoming) {
    LoadGuest(argv[2], argv + 3);
    current = CreateWithTable();
    while (current.vcpu_count < vcpus) VmAddVcpu(&current, CODE_ADDRESS);
    SetGuestVm(&current);
    ResumeGuest();
  }
  Serve(argv[1], Answer);
}
