#ifndef KVM_HTAB_NATIVE_SCOPED_FD_H_
#define KVM_HTAB_NATIVE_SCOPED_FD_H_

#include <unistd.h>

#include <utility>

namespace kvm_htab::sys {

// A descriptor of one scope.
class ScopedFd {
 public:
  explicit ScopedFd(int fd) : fd_(fd) {}
  ScopedFd(const ScopedFd&) = delete;
  ScopedFd& operator=(const ScopedFd&) = delete;
  ~ScopedFd() {
    // SAFETY: nothing else in this process knows the number.
    if (fd_ >= 0) close(fd_);
  }
  int get() const { return fd_; }
  int Release() { return std::exchange(fd_, -1); }

 private:
  int fd_;
};

}  // namespace kvm_htab::sys

#endif  // KVM_HTAB_NATIVE_SCOPED_FD_H_
