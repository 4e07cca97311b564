#ifndef KVM_HTAB_NATIVE_ATTACH_H_
#define KVM_HTAB_NATIVE_ATTACH_H_

// An HTAB descriptor of a process that knows nothing of us: one of its own threads is made to open
// it. README.md, "How a table is opened from outside", says why and what can be left behind.

#include <sys/types.h>

#include <cstdint>

#include "outcome.h"

namespace kvm_htab::sys {

// Where a table is, and which thread opens it.
struct AttachTarget {
  pid_t pid;
  pid_t tid;  // blocked in a system call, and no vcpu
  int vm;     // number of the VM's descriptor there
  uint64_t flags;
  uint64_t start_index;
  bool has_seccomp_filter;  // it is suspended meanwhile, or nothing is done
};

// value: a close-on-exec HTAB descriptor of this process. Waits for the tracer, a child of its own
// that ends by itself: at most some seconds for the thread to stop, then for the ioctl.
// ECHILD (waitpid) where the tracer was killed.
Outcome OpenHtabIn(const AttachTarget& target);

}  // namespace kvm_htab::sys

#endif  // KVM_HTAB_NATIVE_ATTACH_H_
