#ifndef KVM_HTAB_NATIVE_TRACER_H_
#define KVM_HTAB_NATIVE_TRACER_H_

#include "attach.h"
#include "outcome.h"

namespace kvm_htab::sys {

// What the tracer does; for a process of its own with every signal blocked. It makes system calls
// and uses its stack, nothing else: it may be a copy of a process with many threads, whose locks no
// thread will ever release here.
//
// value: the descriptor; the other process has none any more.
Outcome TraceHtab(const AttachTarget& target);

}  // namespace kvm_htab::sys

#endif  // KVM_HTAB_NATIVE_TRACER_H_
