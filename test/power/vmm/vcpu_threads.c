#include "vcpu_threads.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

static const char* const kStateNames[] = {"stopped", "paused", "running", "faulted"};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static pthread_t threads[MAX_VCPUS];
static struct Vm guest = {.fd = -1};
static enum GuestState states[MAX_VCPUS];
static int wanted_running;
static char fault[256];

// What ended KVM_RUN for good; the guest itself calls only to say that it is through or has met a
// fault.
static enum GuestState Stopped(int number, enum RunResult result) {
  const struct kvm_run* run = guest.vcpus[number].run;
  if (result == kUnexpectedExit) {
    snprintf(fault, sizeof fault, "KVM_RUN of vcpu %d ended with exit reason %u", number,
             run->exit_reason);
    return kFaulted;
  }
  const __u64* args = run->papr_hcall.args;
  if (args[0] == 1) return kStopped;
  snprintf(fault, sizeof fault, "interrupt %lx of vcpu %d, DAR %lx, DSISR %lx, SRR0 %lx, SRR1 %lx",
           args[1] & ~0x7ful, number, args[2], args[3], args[4], args[5]);
  return kFaulted;
}

static _Noreturn void* VcpuThread(void* argument) {
  int number = (intptr_t)argument;
  enum GuestState* state = &states[number];
  pthread_mutex_lock(&lock);
  for (;;) {
    while (!wanted_running || *state != kRunningGuest) {
      // Only what has changed is told: two threads that wait would wake each other for ever.
      if (*state == kRunningGuest) {
        *state = kPaused;
        pthread_cond_broadcast(&changed);
      }
      pthread_cond_wait(&changed, &lock);
    }
    guest.vcpus[number].run->immediate_exit = 0;
    pthread_mutex_unlock(&lock);
    enum RunResult result = RunVcpu(&guest.vcpus[number]);
    pthread_mutex_lock(&lock);
    if (result == kInterrupted) continue;
    *state = Stopped(number, result);
    pthread_cond_broadcast(&changed);
  }
}

static void Ignore(int signal) { (void)signal; }

void StartVcpuThreads(void) {
  struct sigaction wake = {.sa_handler = Ignore};
  Must(sigaction(SIGUSR1, &wake, NULL), "sigaction");
  for (intptr_t i = 0; i < MAX_VCPUS; i++) {
    errno = pthread_create(&threads[i], NULL, VcpuThread, (void*)i);
    Must(errno == 0 ? 0 : -1, "pthread_create");
  }
}

static int IsAnyRunning(void) {
  for (int i = 0; i < guest.vcpu_count; i++) {
    if (states[i] == kRunningGuest) return 1;
  }
  return 0;
}

static void Interrupt(int number) {
  // The signal may come just before KVM_RUN begins; then immediate_exit ends it.
  guest.vcpus[number].run->immediate_exit = 1;
  pthread_kill(threads[number], SIGUSR1);
}

void PauseGuest(void) {
  pthread_mutex_lock(&lock);
  wanted_running = 0;
  while (IsAnyRunning()) {
    for (int i = 0; i < guest.vcpu_count; i++) {
      if (states[i] == kRunningGuest) Interrupt(i);
    }
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
  for (int i = 0; i < guest.vcpu_count; i++) states[i] = kPaused;
  fault[0] = '\0';
  pthread_mutex_unlock(&lock);
}

void ResumeGuest(void) {
  pthread_mutex_lock(&lock);
  wanted_running = 1;
  for (int i = 0; i < guest.vcpu_count; i++) {
    if (states[i] == kPaused) states[i] = kRunningGuest;
  }
  pthread_cond_broadcast(&changed);
  pthread_mutex_unlock(&lock);
}

enum GuestState GetGuestState(void) {
  pthread_mutex_lock(&lock);
  enum GuestState result = guest.vcpu_count == 0 ? kPaused : kStopped;
  for (int i = 0; i < guest.vcpu_count; i++) {
    if (states[i] > result) result = states[i];
  }
  pthread_mutex_unlock(&lock);
  return result;
}

const char* GuestStateName(void) { return kStateNames[GetGuestState()]; }

const char* GuestFault(void) { return fault; }
