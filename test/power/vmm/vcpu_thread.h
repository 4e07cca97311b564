#ifndef KVM_HTAB_TEST_POWER_VMM_VCPU_THREAD_H_
#define KVM_HTAB_TEST_POWER_VMM_VCPU_THREAD_H_

// The thread in which a checking guest's vcpu runs, whichever VM that is in.

#include "vm.h"

// A guest that has stopped by itself or met a fault does not run again.
enum GuestState { kPaused, kRunningGuest, kStopped, kFaulted };

void StartVcpuThread(void);

// Returns once the vcpu has left KVM_RUN for good.
void PauseGuest(void);

// The guest is of this VM from here on; it has been paused.
void SetGuestVm(const struct Vm* vm);

// Lets the guest run, unless it has stopped or there is none.
void ResumeGuest(void);

enum GuestState GetGuestState(void);
const char* GuestStateName(void);
// What ended it if it is `kFaulted`; else empty.
const char* GuestFault(void);

#endif  // KVM_HTAB_TEST_POWER_VMM_VCPU_THREAD_H_
