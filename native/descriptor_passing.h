#ifndef KVM_HTAB_NATIVE_DESCRIPTOR_PASSING_H_
#define KVM_HTAB_NATIVE_DESCRIPTOR_PASSING_H_

// Descriptors from and to other processes: over a Unix socket, or taken by number. No call here
// waits for a peer: EAGAIN says that it is not there yet. Waiting is TypeScript's, because a thread
// of the pool that waits for a silent peer is one less for every file and table of the process.

#include <sys/types.h>

#include <cstddef>
#include <cstdint>

#include "outcome.h"

namespace kvm_htab::sys {

// value: a close-on-exec socket, connected to the one at `path`.
Outcome ConnectTo(const char* path);
// value: a close-on-exec socket that listens at `path`, where nothing may be yet. Only this user
// (and root) can connect.
Outcome ListenAt(const char* path);

// Exactly one send(2). value: bytes sent.
Outcome SendOnce(int peer, const uint8_t* bytes, size_t length);

// One message: its text, as far as it fits, and the descriptors that came with it.
struct Received {
  static constexpr size_t kMaxFds = 16;
  static constexpr size_t kMaxText = 512;
  int fds[kMaxFds];
  size_t fd_count = 0;
  char text[kMaxText];
  size_t text_length = 0;
};

// Takes one message. Its descriptors are close-on-exec and the caller's to close. ENODATA where the
// peer has hung up; EMFILE, with none kept, where some did not arrive: the process has no number
// left for them, they are more than kMaxFds, or a security module withholds them.
Outcome ReceiveMessage(int peer, Received* received);

// Accepts one connection and sends it `fd`.
Outcome OfferFd(int listener, int fd);

// Duplicates descriptor `fd` of process `pid` into this one, close-on-exec.
Outcome TakeFd(pid_t pid, int fd);

}  // namespace kvm_htab::sys

#endif  // KVM_HTAB_NATIVE_DESCRIPTOR_PASSING_H_
