// Kills the tracer of native/tracer.cc before and after each of its system calls in turn, until
// COUNT have been killed and each place has had its turn. The thread of another process that it
// traces must not notice.
//
// Usage: kill-tracer PID TID FD COUNT
//
// Prints the tracers killed, and the places there are: "100 killed at 96 places".

#include <linux/ptrace.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>

#include "../../native/attach.h"

namespace {

using kvm_htab::sys::AttachTarget;

constexpr int kSystemCallStop = SIGTRAP | 0x80;

long Ptrace(int request, pid_t pid, unsigned long data) {
  return syscall(SYS_ptrace, request, pid, 0, data);
}

[[noreturn]] void Fail(const char* what) {
  std::perror(what);
  std::exit(1);
}

// A process that asks for the descriptor, and waits for its tracer: it is traced itself.
pid_t StartAsking(const AttachTarget& target) {
  const pid_t pid = fork();
  if (pid < 0) Fail("fork");
  if (pid == 0) {
    Ptrace(PTRACE_TRACEME, 0, 0);
    raise(SIGSTOP);
    _exit(kvm_htab::sys::OpenHtabIn(target).error == 0 ? 0 : 1);
  }
  int status = 0;
  if (waitpid(pid, &status, 0) != pid || !WIFSTOPPED(status)) Fail("waitpid");
  if (Ptrace(PTRACE_SETOPTIONS, pid, PTRACE_O_TRACECLONE | PTRACE_O_TRACESYSGOOD) != 0)
    Fail("ptrace");
  Ptrace(PTRACE_CONT, pid, 0);
  return pid;
}

// The child that the asking process has made, stopped before its first instruction.
pid_t WaitForTracer(pid_t asking) {
  int status = 0;
  unsigned long tracer = 0;
  if (waitpid(asking, &status, __WALL) != asking) Fail("waitpid");
  if (status >> 8 != (SIGTRAP | PTRACE_EVENT_CLONE << 8)) Fail("the asking process made no child");
  Ptrace(PTRACE_GETEVENTMSG, asking, reinterpret_cast<unsigned long>(&tracer));
  Ptrace(PTRACE_CONT, asking, 0);
  const auto pid = static_cast<pid_t>(tracer);
  if (waitpid(pid, &status, __WALL) != pid || !WIFSTOPPED(status)) Fail("waitpid");
  return pid;
}

// Whether the tracer has been killed at that stop, counted from 1; otherwise it has ended before.
bool KillAt(pid_t tracer, int place) {
  for (int stops = 0;;) {
    int status = 0;
    Ptrace(PTRACE_SYSCALL, tracer, 0);
    if (waitpid(tracer, &status, __WALL) != tracer) Fail("waitpid");
    if (!WIFSTOPPED(status)) return false;
    if (WSTOPSIG(status) != kSystemCallStop || ++stops < place) continue;
    kill(tracer, SIGKILL);
    waitpid(tracer, &status, __WALL);
    return true;
  }
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 5) return 2;
  const AttachTarget target = {
      std::atoi(argv[1]), std::atoi(argv[2]), std::atoi(argv[3]), 0, 0, false};
  const int count = std::atoi(argv[4]);
  int killed = 0;
  int places = 0;
  for (int place = 1; killed < count || places == 0; ++place) {
    const pid_t asking = StartAsking(target);
    int status = 0;
    if (KillAt(WaitForTracer(asking), place)) {
      ++killed;
    } else {
      places = place - 1;
      place = 0;
    }
    while (waitpid(asking, &status, __WALL) == asking && WIFSTOPPED(status)) {
      Ptrace(PTRACE_CONT, asking, static_cast<unsigned long>(WSTOPSIG(status)));
    }
    if (place == 0 && WEXITSTATUS(status) != 0) Fail("a tracer that was not killed failed");
  }
  std::printf("%d killed at %d places\n", killed, places);
  return 0;
}
