#include "descriptor_passing.h"

#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstring>
#include <ctime>

// The same numbers on every architecture; older C libraries do not name them.
#ifndef SYS_pidfd_open
#define SYS_pidfd_open 434
#endif
#ifndef SYS_pidfd_getfd
#define SYS_pidfd_getfd 438
#endif

namespace kvm_htab::sys {
namespace {

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

 private:
  int fd_;
};

int64_t NowMs() {
  timespec now = {};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return int64_t{now.tv_sec} * 1000 + now.tv_nsec / 1000000;
}

// Repeats a blocking socket call until it is through, or gives ETIMEDOUT at `deadline_ms`.
// `direction` is the timeout that bounds the call: SO_RCVTIMEO (accept, recvmsg) or SO_SNDTIMEO.
template <typename Call>
Outcome CallBefore(int64_t deadline_ms, int peer, int direction, const char* name, Call call) {
  for (;;) {
    const int64_t left_ms = deadline_ms - NowMs();
    if (left_ms <= 0) return {0, ETIMEDOUT, name};
    timeval timeout = {};
    timeout.tv_sec = left_ms / 1000;
    timeout.tv_usec = (left_ms % 1000) * 1000;
    const Outcome armed =
        OutcomeOf("setsockopt", setsockopt(peer, SOL_SOCKET, direction, &timeout, sizeof timeout));
    if (armed.error != 0) return armed;
    const Outcome outcome = OutcomeOf(name, call());
    if (outcome.error != EAGAIN && outcome.error != EINTR) return outcome;
  }
}

Outcome SocketAddress(const char* path, sockaddr_un* address) {
  std::memset(address, 0, sizeof *address);
  address->sun_family = AF_UNIX;
  const size_t length = std::strlen(path);
  if (length == 0) return {0, ENOENT, "connect"};
  if (length >= sizeof address->sun_path) return {0, ENAMETOOLONG, "connect"};
  std::memcpy(address->sun_path, path, length);
  return {};
}

Outcome OpenSocket() { return OutcomeOf("socket", socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)); }

Outcome SendText(int peer, const char* text, size_t length, int64_t deadline_ms) {
  for (size_t sent = 0; sent < length;) {
    const Outcome outcome = CallBefore(deadline_ms, peer, SO_SNDTIMEO, "send", [&] {
      return send(peer, text + sent, length - sent, MSG_NOSIGNAL);
    });
    if (outcome.error != 0) return outcome;
    sent += static_cast<size_t>(outcome.value);
  }
  return {};
}

Outcome ReceiveMessage(int peer, Received* received, int64_t deadline_ms) {
  // An odd number would leave padding, which the kernel fills with one descriptor more.
  static_assert(Received::kMaxFds % 2 == 0);
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof received->fds)];
  iovec text = {received->text, sizeof received->text};
  msghdr message = {};
  message.msg_iov = &text;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof control;
  const Outcome outcome = CallBefore(deadline_ms, peer, SO_RCVTIMEO, "recvmsg",
                                     [&] { return recvmsg(peer, &message, MSG_CMSG_CLOEXEC); });
  if (outcome.error != 0) return outcome;
  if (outcome.value == 0) return {0, ENODATA, "recvmsg"};

  received->text_length = static_cast<size_t>(outcome.value);
  for (cmsghdr* part = CMSG_FIRSTHDR(&message); part != nullptr;
       part = CMSG_NXTHDR(&message, part)) {
    if (part->cmsg_level != SOL_SOCKET || part->cmsg_type != SCM_RIGHTS) continue;
    const size_t count = (part->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    // SAFETY: all parts together fit `control`, which holds kMaxFds descriptors and no more; the
    // kernel closes what it had to leave out.
    std::memcpy(received->fds + received->fd_count, CMSG_DATA(part), count * sizeof(int));
    received->fd_count += count;
  }
  return outcome;
}

Outcome SendFd(int peer, int fd, int64_t deadline_ms) {
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof fd)] = {};
  char text = '\n';  // a message needs a byte to carry a descriptor
  iovec bytes = {&text, 1};
  msghdr message = {};
  message.msg_iov = &bytes;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof control;
  cmsghdr* part = CMSG_FIRSTHDR(&message);
  part->cmsg_level = SOL_SOCKET;
  part->cmsg_type = SCM_RIGHTS;
  part->cmsg_len = CMSG_LEN(sizeof fd);
  std::memcpy(CMSG_DATA(part), &fd, sizeof fd);
  return CallBefore(deadline_ms, peer, SO_SNDTIMEO, "sendmsg",
                    [&] { return sendmsg(peer, &message, MSG_NOSIGNAL); });
}

}  // namespace

Outcome ReceiveFds(const char* path, const char* request, size_t request_length,
                   uint32_t timeout_ms, Received* received) {
  const int64_t deadline_ms = NowMs() + timeout_ms;
  sockaddr_un address;
  Outcome outcome = SocketAddress(path, &address);
  if (outcome.error != 0) return outcome;
  outcome = OpenSocket();
  if (outcome.error != 0) return outcome;
  const ScopedFd peer(static_cast<int>(outcome.value));
  outcome = CallBefore(deadline_ms, peer.get(), SO_SNDTIMEO, "connect", [&] {
    return connect(peer.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address);
  });
  if (outcome.error != 0) return outcome;
  outcome = SendText(peer.get(), request, request_length, deadline_ms);
  if (outcome.error != 0) return outcome;
  return ReceiveMessage(peer.get(), received, deadline_ms);
}

Outcome OfferFd(const char* path, int fd, uint32_t timeout_ms) {
  const int64_t deadline_ms = NowMs() + timeout_ms;
  sockaddr_un address;
  Outcome outcome = SocketAddress(path, &address);
  if (outcome.error != 0) return outcome;
  outcome = OpenSocket();
  if (outcome.error != 0) return outcome;
  const ScopedFd listener(static_cast<int>(outcome.value));
  // Before bind, so that there is no moment at which others could connect.
  outcome = OutcomeOf("fchmod", fchmod(listener.get(), S_IRUSR | S_IWUSR));
  if (outcome.error != 0) return outcome;
  outcome = OutcomeOf(
      "bind", bind(listener.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address));
  if (outcome.error != 0) return outcome;
  outcome = OutcomeOf("listen", listen(listener.get(), 1));
  if (outcome.error == 0) {
    outcome = CallBefore(deadline_ms, listener.get(), SO_RCVTIMEO, "accept4",
                         [&] { return accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC); });
  }
  unlink(path);
  if (outcome.error != 0) return outcome;
  const ScopedFd peer(static_cast<int>(outcome.value));
  return SendFd(peer.get(), fd, deadline_ms);
}

Outcome TakeFd(pid_t pid, int fd) {
  const Outcome process = OutcomeOf("pidfd_open", syscall(SYS_pidfd_open, pid, 0));
  if (process.error != 0) return process;
  // pidfd_open always makes its descriptor close-on-exec, and so does pidfd_getfd.
  const ScopedFd pidfd(static_cast<int>(process.value));
  return OutcomeOf("pidfd_getfd", syscall(SYS_pidfd_getfd, pidfd.get(), fd, 0));
}

}  // namespace kvm_htab::sys
