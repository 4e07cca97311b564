#ifndef KVM_HTAB_NATIVE_DESCRIPTOR_PASSING_H_
#define KVM_HTAB_NATIVE_DESCRIPTOR_PASSING_H_

// Descriptors from and to other processes: over a Unix socket, or taken by number.

#include <sys/types.h>

#include <cstddef>
#include <cstdint>

#include "outcome.h"

namespace kvm_htab::sys {

// The message a descriptor came with.
struct Received {
  static constexpr size_t kMaxFds = 16;
  static constexpr size_t kMaxText = 512;
  int fds[kMaxFds];
  size_t fd_count = 0;
  char text[kMaxText];
  size_t text_length = 0;
};

// Connects to the socket at `path`, sends `request` (which may be empty) and takes the peer's first
// message: at most kMaxFds descriptors, all close-on-exec and the caller's to close, and at most
// kMaxText bytes. Fails with ETIMEDOUT once `timeout_ms` have passed.
Outcome ReceiveFds(const char* path, const char* request, size_t request_length,
                   uint32_t timeout_ms, Received* received);

// Listens at `path`, where nothing may be yet, until one peer has taken `fd` or `timeout_ms` have
// passed. Only this user (and root) can connect. The path is gone afterwards.
Outcome OfferFd(const char* path, int fd, uint32_t timeout_ms);

// Duplicates descriptor `fd` of process `pid` into this one, close-on-exec.
Outcome TakeFd(pid_t pid, int fd);

}  // namespace kvm_htab::sys

#endif  // KVM_HTAB_NATIVE_DESCRIPTOR_PASSING_H_
