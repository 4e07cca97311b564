#include "descriptor_passing.h"

#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstring>
#include <utility>

#include "scoped_fd.h"
#include "send_fd.h"
#include "system_call_numbers.h"

namespace kvm_htab::sys {
namespace {

// Makes a socket and calls `place(socket, address, address's length)`: connect or bind.
template <typename Place>
Outcome SocketAt(const char* path, const char* call, Place place) {
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  const size_t length = std::strlen(path);
  if (length == 0) return {0, ENOENT, call};
  if (length >= sizeof address.sun_path) return {0, ENAMETOOLONG, call};
  std::memcpy(address.sun_path, path, length);
  Outcome outcome =
      OutcomeOf("socket", socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (outcome.error != 0) return outcome;
  ScopedFd made(static_cast<int>(outcome.value));
  outcome = place(made.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address);
  return outcome.error != 0 ? outcome : Outcome{made.Release(), 0, call};
}

// The descriptors of a message; all parts together fit its control buffer.
void TakeFds(msghdr* message, Received* received) {
  for (cmsghdr* part = CMSG_FIRSTHDR(message); part != nullptr; part = CMSG_NXTHDR(message, part)) {
    if (part->cmsg_level != SOL_SOCKET || part->cmsg_type != SCM_RIGHTS) continue;
    const size_t count = (part->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    // SAFETY: the control buffer holds kMaxFds descriptors and no more.
    std::memcpy(received->fds + received->fd_count, CMSG_DATA(part), count * sizeof(int));
    received->fd_count += count;
  }
  // A peer may have sent a socket whose close would wait for its data to be taken: it must not.
  const linger off = {0, 0};
  for (size_t i = 0; i < received->fd_count; ++i) {
    setsockopt(received->fds[i], SOL_SOCKET, SO_LINGER, &off, sizeof off);  // ENOTSOCK is fine
  }
}

}  // namespace

Outcome ConnectTo(const char* path) {
  return SocketAt(path, "connect", [](int fd, const sockaddr* address, socklen_t length) {
    return OutcomeOf("connect", connect(fd, address, length));
  });
}

Outcome ListenAt(const char* path) {
  return SocketAt(path, "bind", [](int fd, const sockaddr* address, socklen_t length) {
    // Before bind, so that there is no moment at which others could connect.
    Outcome outcome = OutcomeOf("fchmod", fchmod(fd, S_IRUSR | S_IWUSR));
    if (outcome.error == 0) outcome = OutcomeOf("bind", bind(fd, address, length));
    if (outcome.error == 0) outcome = OutcomeOf("listen", listen(fd, 1));
    return outcome;
  });
}

Outcome SendOnce(int peer, const uint8_t* bytes, size_t length) {
  return OutcomeOf("send", send(peer, bytes, length, MSG_DONTWAIT | MSG_NOSIGNAL));
}

Outcome ReceiveMessage(int peer, Received* received) {
  // An odd number would leave padding, which the kernel fills with one descriptor more.
  static_assert(Received::kMaxFds % 2 == 0);
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof received->fds)];
  iovec text = {received->text, sizeof received->text};
  msghdr message = {};
  message.msg_iov = &text;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof control;
  const Outcome outcome =
      OutcomeOf("recvmsg", recvmsg(peer, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC));
  if (outcome.error != 0) return outcome;
  received->text_length = static_cast<size_t>(outcome.value);
  TakeFds(&message, received);
  if ((message.msg_flags & MSG_CTRUNC) != 0) {
    while (received->fd_count > 0) close(received->fds[--received->fd_count]);
    return {0, EMFILE, "recvmsg"};
  }
  return outcome.value == 0 ? Outcome{0, ENODATA, "recvmsg"} : outcome;
}

Outcome OfferFd(int listener, int fd) {
  const Outcome accepted = OutcomeOf("accept4", accept4(listener, nullptr, nullptr, SOCK_CLOEXEC));
  if (accepted.error != 0) return accepted;
  const ScopedFd peer(static_cast<int>(accepted.value));
  const char text = '\n';  // a message needs a byte to carry a descriptor
  // A connection just made has room for one byte: this never has to be tried again.
  return SendFd(peer.get(), &text, sizeof text, fd);
}

Outcome TakeFd(pid_t pid, int fd) {
  const Outcome process = OutcomeOf("pidfd_open", syscall(SYS_pidfd_open, pid, 0));
  if (process.error != 0) return process;
  // pidfd_open always makes its descriptor close-on-exec, and so does pidfd_getfd.
  const ScopedFd pidfd(static_cast<int>(process.value));
  return OutcomeOf("pidfd_getfd", syscall(SYS_pidfd_getfd, pidfd.get(), fd, 0));
}

}  // namespace kvm_htab::sys
