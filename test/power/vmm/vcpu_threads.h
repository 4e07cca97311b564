#ifndef KVM_HTAB_TEST_POWER_VMM_VCPU_THREADS_H_
#define KVM_HTAB_TEST_POWER_VMM_VCPU_THREADS_H_

// The threads in which a checking guest's vcpus run, whichever VM they are in.

#include "vm.h"

// Of a vcpu, and of a guest: the last of its vcpus' states in this order. What has stopped by
// itself or met a fault does not run again.
enum GuestState { kStopped, kPaused, kRunningGuest, kFaulted };

void StartVcpuThreads(void);

// Returns once all vcpus have left KVM_RUN for good.
void PauseGuest(void);

// The guest is of this VM from here on; it has been paused.
void SetGuestVm(const struct Vm* vm);

// Lets the guest run, unless it has stopped or there is none.
void ResumeGuest(void);

enum GuestState GetGuestState(void);
const char* GuestStateName(void);
// What ended it if it is `kFaulted`; else empty.
const char* GuestFault(void);

#endif  // KVM_HTAB_TEST_POWER_VMM_VCPU_THREADS_H_
