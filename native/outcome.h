#ifndef KVM_HTAB_NATIVE_OUTCOME_H_
#define KVM_HTAB_NATIVE_OUTCOME_H_

#include <cerrno>
#include <cstdint>

namespace kvm_htab::sys {

// What a system call answered.
struct Outcome {
  int64_t value = 0;           // what it returned, when error is 0
  int error = 0;               // errno as it stood right after the call
  const char* call = nullptr;  // the call's name, or the ioctl request's
};

// Must wrap the call itself: any other libc call in between may change errno.
inline Outcome OutcomeOf(const char* call, int64_t returned) {
  if (returned < 0) return {0, errno, call};
  return {returned, 0, call};
}

}  // namespace kvm_htab::sys

#endif  // KVM_HTAB_NATIVE_OUTCOME_H_
