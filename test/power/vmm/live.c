// The VMM of the checking guest (guest/checker.c). Another process gets the descriptors of its
// table, and moves it from VM to VM.
//
// Usage: live SOCKET GUEST-IMAGE ORDER SEED LAST-ITERATION   (0: the guest goes on for ever)
//
//   open-read            ok ORDER, with a read descriptor of the VM the guest runs in
//   open-write-current   ok ORDER, with a write descriptor of that VM
//   open-write           ok ORDER, with a write descriptor of the next VM: made anew, with the
//                        same memory and an empty table
//   open-read-next       ok ORDER, with a read descriptor of the next VM
//   pause                ok STATE: the vcpu has left KVM_RUN
//   resume               ok
//   commit               ok: the next VM gets the registers, and the guest goes on there
//   drop                 ok: the next VM is closed
//   unmap                ok: UnmapGuestMemory
//   finish ITERATION     ok: the guest stops there
//   stats                a JSON object
//   quit                 ok

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "control.h"
#include "guest/layout.h"
#include "vm.h"

enum State { kPaused, kRunningGuest, kStopped, kFaulted };
static const char* const kStateNames[] = {"paused", "running", "stopped", "faulted"};

static uint8_t* memory;
static struct Vm current;
static struct Vm next = {.fd = -1, .vcpu = -1};
static int commits;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static pthread_t vcpu_thread;
static enum State state = kPaused;  // of the guest
static int wanted_running;
static char fault[256];

// What ended KVM_RUN for good; the guest itself calls only to say that it is through or has met a
// fault.
static enum State Stopped(enum RunResult result) {
  const struct kvm_run* run = current.run;
  if (result == kUnexpectedExit) {
    snprintf(fault, sizeof fault, "KVM_RUN ended with exit reason %u", run->exit_reason);
    return kFaulted;
  }
  const __u64* args = run->papr_hcall.args;
  if (args[0] == 1) return kStopped;
  snprintf(fault, sizeof fault, "interrupt %lx, DAR %lx, DSISR %lx, SRR0 %lx, SRR1 %lx",
           args[1] & ~0x7ful, args[2], args[3], args[4], args[5]);
  return kFaulted;
}

static _Noreturn void* VcpuThread(void* unused) {
  (void)unused;
  pthread_mutex_lock(&lock);
  for (;;) {
    while (!wanted_running || state > kRunningGuest) {
      if (state == kRunningGuest) state = kPaused;
      pthread_cond_broadcast(&changed);
      pthread_cond_wait(&changed, &lock);
    }
    state = kRunningGuest;
    current.run->immediate_exit = 0;
    pthread_mutex_unlock(&lock);
    enum RunResult result = RunVcpu(&current);
    pthread_mutex_lock(&lock);
    if (result != kInterrupted) state = Stopped(result);
  }
}

static void Pause(void) {
  pthread_mutex_lock(&lock);
  wanted_running = 0;
  while (state == kRunningGuest) {
    // The signal may come just before KVM_RUN begins; then immediate_exit ends it.
    current.run->immediate_exit = 1;
    pthread_kill(vcpu_thread, SIGUSR1);
    struct timespec again;
    clock_gettime(CLOCK_REALTIME, &again);
    again.tv_nsec += 10 * 1000 * 1000;
    if (again.tv_nsec >= 1000 * 1000 * 1000) {
      again.tv_sec++;
      again.tv_nsec -= 1000 * 1000 * 1000;
    }
    pthread_cond_timedwait(&changed, &lock, &again);
  }
  pthread_mutex_unlock(&lock);
}

static void Resume(void) {
  pthread_mutex_lock(&lock);
  wanted_running = 1;
  if (state == kPaused) state = kRunningGuest;
  pthread_cond_broadcast(&changed);
  pthread_mutex_unlock(&lock);
}

static struct Vm CreateWithTable(uint32_t order) {
  struct Vm vm = VmCreate(memory, 0);
  Must(VmAllocateHtab(&vm, order), "KVM_PPC_ALLOCATE_HTAB");
  return vm;
}

static void DropNext(void) {
  if (next.fd >= 0) VmClose(&next);
}

static void Commit(int peer) {
  if (next.fd < 0) {
    Reply(peer, "error no next VM");
    return;
  }
  Pause();
  if (state != kPaused) {
    Reply(peer, "error the guest is %s", kStateNames[state]);
    return;
  }
  VmAddVcpu(&next, CODE_ADDRESS);
  CopyRegisters(&current, &next);
  pthread_mutex_lock(&lock);
  struct Vm before = current;
  current = next;
  next.fd = next.vcpu = -1;
  commits++;
  pthread_mutex_unlock(&lock);
  VmClose(&before);
  Resume();
  Reply(peer, "ok");
}

static void ReplyStats(int peer) {
  const struct Report report = *(volatile struct Report*)(memory + REPORT_ADDRESS);
  char failures[1024] = "";
  size_t length = 0;
  for (uint64_t i = 0; i < report.errors && i < MAX_FAILURES; i++) {
    const struct Failure* f = &report.failures[i];
    length += snprintf(failures + length, sizeof failures - length,
                       "%s\"check %lu page %lu got %lx wanted %lx at %lu\"", i == 0 ? "" : ",",
                       f->check, f->page, f->got, f->wanted, f->iteration);
  }
  Reply(peer,
        "{\"state\":\"%s\",\"fault\":\"%s\",\"commits\":%d,\"phase\":%lu,\"iteration\":%lu,"
        "\"checksum\":\"%016lx\",\"errors\":%lu,\"failures\":[%s],\"ticks\":%lu,\"loads\":%lu,"
        "\"stores\":%lu,\"faults\":%lu,\"removals\":%lu,\"enters\":%lu,\"protects\":%lu,"
        "\"reads\":%lu,\"clearMods\":%lu,\"largePages\":%lu,\"unmapped\":%lu}",
        kStateNames[state], fault, commits, report.phase, report.iteration, report.checksum,
        report.errors, failures, report.ticks, report.loads, report.stores, report.faults,
        report.removals, report.enters, report.protects, report.reads, report.clear_mods,
        report.large_pages, report.unmapped);
}

static void Answer(int peer, const char* command, const char* arguments) {
  if (strcmp(command, "open-read") == 0) {
    ReplyWithFd(peer, VmOpenHtab(&current, 0, 0), "ok %u", current.order);
  } else if (strcmp(command, "open-write-current") == 0) {
    ReplyWithFd(peer, VmOpenHtab(&current, KVM_GET_HTAB_WRITE, 0), "ok %u", current.order);
  } else if (strcmp(command, "open-write") == 0) {
    DropNext();
    next = CreateWithTable(current.order);
    ReplyWithFd(peer, VmOpenHtab(&next, KVM_GET_HTAB_WRITE, 0), "ok %u", next.order);
  } else if (strcmp(command, "open-read-next") == 0) {
    ReplyWithFd(peer, VmOpenHtab(&next, 0, 0), "ok %u", next.order);
  } else if (strcmp(command, "pause") == 0) {
    Pause();
    Reply(peer, "ok %s", kStateNames[state]);
  } else if (strcmp(command, "resume") == 0) {
    Resume();
    Reply(peer, "ok");
  } else if (strcmp(command, "commit") == 0) {
    Commit(peer);
  } else if (strcmp(command, "drop") == 0) {
    DropNext();
    Reply(peer, "ok");
  } else if (strcmp(command, "unmap") == 0) {
    UnmapGuestMemory(memory);
    Reply(peer, "ok");
  } else if (strcmp(command, "finish") == 0) {
    ((volatile struct Report*)(memory + REPORT_ADDRESS))->last_iteration =
        strtoull(arguments, NULL, 10);
    Reply(peer, "ok");
  } else if (strcmp(command, "stats") == 0) {
    ReplyStats(peer);
  } else if (strcmp(command, "quit") == 0) {
    Pause();
    Reply(peer, "ok");
    exit(0);
  } else {
    Reply(peer, "error unknown command");
  }
}

static void Ignore(int signal) { (void)signal; }

static void LoadGuest(const char* path, char** settings) {
  int image = Must(open(path, O_RDONLY | O_CLOEXEC), "open the guest's image");
  Must(read(image, memory + CODE_ADDRESS, STACK_TOP - CODE_ADDRESS), "read the guest's image");
  close(image);
  __builtin___clear_cache((char*)memory + CODE_ADDRESS, (char*)memory + STACK_TOP);
  struct Report* report = (struct Report*)(memory + REPORT_ADDRESS);
  report->order = strtoull(settings[0], NULL, 0);
  report->seed = strtoull(settings[1], NULL, 0);
  report->last_iteration = strtoull(settings[2], NULL, 0);
}

int main(int argc, char** argv) {
  if (argc != 6) return 2;
  struct sigaction wake = {.sa_handler = Ignore};
  Must(sigaction(SIGUSR1, &wake, NULL), "sigaction");
  memory = AllocateGuestMemory();
  LoadGuest(argv[2], argv + 3);
  current = CreateWithTable(atoi(argv[3]));
  VmAddVcpu(&current, CODE_ADDRESS);
  if (pthread_create(&vcpu_thread, NULL, VcpuThread, NULL) != 0) return 1;
  Resume();
  Serve(argv[1], Answer);
}
