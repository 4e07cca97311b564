#include "attach.h"

#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstring>

#include "scoped_fd.h"
#include "send_fd.h"
#include "system_call_numbers.h"
#include "tracer.h"

namespace kvm_htab::sys {
namespace {

// All signals, also those that the C library keeps for itself and hides from its own functions.
constexpr uint64_t kAllSignals = ~0ULL;

void SetSignalMask(const uint64_t* mask, uint64_t* before) {
  syscall(SYS_rt_sigprocmask, SIG_SETMASK, mask, before, sizeof *mask);
}

// What the tracer sends; the descriptor goes beside it.
Outcome ReadReport(int peer) {
  int fd = -1;
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof fd)];
  Outcome outcome;
  iovec bytes = {&outcome, sizeof outcome};
  msghdr message = {};
  message.msg_iov = &bytes;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof control;
  ssize_t length = 0;
  do {
    length = recvmsg(peer, &message, MSG_CMSG_CLOEXEC);
  } while (length < 0 && errno == EINTR);
  if (length < 0) return {0, errno, "recvmsg"};
  if (static_cast<size_t>(length) < sizeof outcome) return {0, ECHILD, "waitpid"};
  if (outcome.error != 0) return outcome;
  const cmsghdr* part = CMSG_FIRSTHDR(&message);
  if (part == nullptr) return {0, EMFILE, "recvmsg"};
  std::memcpy(&fd, CMSG_DATA(part), sizeof fd);
  return {fd, 0, outcome.call};
}

// The tracer's whole life. It has every signal blocked: only SIGKILL ends it.
[[noreturn]] void TraceAndExit(const AttachTarget& target, int peer) {
  // A signal to the group of this process (kill -9 -PGID) is not for it.
  setsid();
  prctl(PR_SET_NAME, "htab-tracer");
  // It may not keep files, sockets and VMs of this process open. Linux before 5.9 has no such call.
  if (peer > 0) syscall(SYS_close_range, 0U, static_cast<unsigned>(peer) - 1, 0U);
  syscall(SYS_close_range, static_cast<unsigned>(peer) + 1, ~0U, 0U);
  const Outcome outcome = TraceHtab(target);
  // The name of the call in it is in memory that both processes have at the same address. Where the
  // process that asked has gone, the descriptor goes with this one.
  SendFd(peer, &outcome, sizeof outcome, outcome.error == 0 ? static_cast<int>(outcome.value) : -1);
  _exit(0);
}

}  // namespace

Outcome OpenHtabIn(const AttachTarget& target) {
  int ends[2];
  const Outcome made = OutcomeOf(
      "socketpair", socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, static_cast<int*>(ends)));
  if (made.error != 0) return made;
  const ScopedFd ours(ends[0]);
  ScopedFd theirs(ends[1]);
  uint64_t mask = 0;
  SetSignalMask(&kAllSignals, &mask);
  // SAFETY: the child shares no memory with this process, and takes no lock of it: it makes system
  // calls only. Not fork(), which would run handlers of other libraries; and without a signal at
  // its end, which others might take for that of a child of theirs.
  const Outcome child = OutcomeOf("clone", syscall(SYS_clone, 0UL, 0UL, 0UL, 0UL, 0UL));
  if (child.error == 0 && child.value == 0) TraceAndExit(target, theirs.get());
  SetSignalMask(&mask, nullptr);
  if (child.error != 0) return child;
  close(theirs.Release());
  Outcome outcome = ReadReport(ours.get());
  while (waitpid(static_cast<pid_t>(child.value), nullptr, __WALL) < 0 && errno == EINTR) continue;
  return outcome;
}

}  // namespace kvm_htab::sys
