#include "vcpu_thread.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

static const char* const kStateNames[] = {"paused", "running", "stopped", "faulted"};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static pthread_t vcpu_thread;
static struct Vm guest = {.fd = -1, .vcpu = -1};
static enum GuestState state = kPaused;
static int wanted_running;
static char fault[256];

// What ended KVM_RUN for good; the guest itself calls only to say that it is through or has met a
// fault.
static enum GuestState Stopped(enum RunResult result) {
  const struct kvm_run* run = guest.run;
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
    guest.run->immediate_exit = 0;
    pthread_mutex_unlock(&lock);
    enum RunResult result = RunVcpu(&guest);
    pthread_mutex_lock(&lock);
    if (result != kInterrupted) state = Stopped(result);
  }
}

static void Ignore(int signal) { (void)signal; }

void StartVcpuThread(void) {
  struct sigaction wake = {.sa_handler = Ignore};
  Must(sigaction(SIGUSR1, &wake, NULL), "sigaction");
  errno = pthread_create(&vcpu_thread, NULL, VcpuThread, NULL);
  Must(errno == 0 ? 0 : -1, "pthread_create");
}

void PauseGuest(void) {
  pthread_mutex_lock(&lock);
  wanted_running = 0;
  while (state == kRunningGuest) {
    // The signal may come just before KVM_RUN begins; then immediate_exit ends it.
    guest.run->immediate_exit = 1;
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

void SetGuestVm(const struct Vm* vm) {
  pthread_mutex_lock(&lock);
  guest = *vm;
  state = kPaused;
  fault[0] = '\0';
  pthread_mutex_unlock(&lock);
}

void ResumeGuest(void) {
  pthread_mutex_lock(&lock);
  if (guest.vcpu >= 0) {
    wanted_running = 1;
    if (state == kPaused) state = kRunningGuest;
    pthread_cond_broadcast(&changed);
  }
  pthread_mutex_unlock(&lock);
}

enum GuestState GetGuestState(void) {
  pthread_mutex_lock(&lock);
  enum GuestState result = state;
  pthread_mutex_unlock(&lock);
  return result;
}

const char* GuestStateName(void) { return kStateNames[GetGuestState()]; }

const char* GuestFault(void) { return fault; }
