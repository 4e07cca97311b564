#include "tracer.h"

#include <elf.h>
#include <linux/nsfs.h>
#include <linux/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <ctime>

#include "kvm_abi.h"
#include "registers.h"
#include "system_call_numbers.h"

namespace kvm_htab::sys {
namespace {

// For the thread to stop in a system call; once the descriptor is open, to close it there.
constexpr int64_t kPatienceMs = 2000;
constexpr int64_t kLongPatienceMs = 20000;
constexpr int64_t kLookAgainNs = 100000;

// x86 has no such table. There the steps are tested with an ioctl that opens a descriptor too.
#if defined(__powerpc64__)
constexpr Request kOpenRequest = kGetHtabFd;
#else
constexpr Request kOpenRequest = {NS_GET_USERNS, "NS_GET_USERNS"};
#endif

int64_t NowMs() {
  timespec now = {};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

// Bytes of the other process.
iovec There(uint64_t address, size_t length) {
  return {reinterpret_cast<void*>(address), length};  // NOLINT(performance-no-int-to-ptr)
}

// How a traced thread stands still.
struct Stop {
  enum Kind {
    kTrap,        // in the kernel, on its way out of an interrupted call
    kSystemCall,  // before or after a call
    kSignal,      // before a signal is delivered
    kGone,
    kNone,  // it did not stop in time
  };
  Kind kind;
  int signal = 0;  // to go on with
};

class Tracer {
 public:
  Tracer(const AttachTarget& target, int pidfd) : target_(target), pidfd_(pidfd) {}

  Outcome Run();

 private:
  enum class Step { kDone, kAgain, kFailed };

  // The kernel's answer to a request, which libc's ptrace() would take for a value of its own.
  int64_t Ptrace(uint32_t request, uintptr_t address, uintptr_t data) const {
    return syscall(SYS_ptrace, request, target_.tid, address, data);
  }
  bool GetRegisters(Registers* registers) const;
  bool SetRegisters(const Registers& registers) const;
  Stop Wait(int64_t deadline) const;

  Outcome Seize() const;
  Step StopInCall(int64_t deadline);
  Step Call(const SystemCall& call, int64_t* result);
  Step OpenThere();
  Step CloseThere();
  void LetGo();
  Step Failed(const char* call);

  const AttachTarget& target_;
  const int pidfd_;
  Registers stopped_ = {};
  bool is_stopped_ = false;  // in a stop that registers and detaching are for
  bool has_called_ = false;  // it stands behind a call of ours
  int64_t theirs_ = -1;
  Outcome result_ = {0, ETIMEDOUT, "PTRACE_INTERRUPT"};
};

bool Tracer::GetRegisters(Registers* registers) const {
  iovec bytes = {registers, sizeof *registers};
  return Ptrace(PTRACE_GETREGSET, NT_PRSTATUS, reinterpret_cast<uintptr_t>(&bytes)) == 0;
}

bool Tracer::SetRegisters(const Registers& registers) const {
  Registers copy = registers;
  iovec bytes = {&copy, sizeof copy};
  return Ptrace(PTRACE_SETREGSET, NT_PRSTATUS, reinterpret_cast<uintptr_t>(&bytes)) == 0;
}

// Waits for the next stop; without a deadline where the kernel brings it about by itself.
Stop Tracer::Wait(int64_t deadline = 0) const {
  int status = 0;
  for (;;) {
    const pid_t found = waitpid(target_.tid, &status, deadline == 0 ? __WALL : __WALL | WNOHANG);
    if (found > 0) break;
    if (found < 0 && errno != EINTR) return {Stop::kGone};
    if (deadline != 0 && NowMs() > deadline) return {Stop::kNone};
    const timespec pause = {0, kLookAgainNs};
    if (deadline != 0) nanosleep(&pause, nullptr);
  }
  if (!WIFSTOPPED(status)) return {Stop::kGone};
  if (status >> 16 == PTRACE_EVENT_STOP) return {Stop::kTrap};
  if (WSTOPSIG(status) == (SIGTRAP | 0x80)) return {Stop::kSystemCall};
  return {Stop::kSignal, WSTOPSIG(status)};
}

Tracer::Step Tracer::Failed(const char* call) {
  result_ = {0, errno, call};
  return Step::kFailed;
}

// Stops the thread in a system call. kAgain: it was not in one, and runs on.
Tracer::Step Tracer::StopInCall(int64_t deadline) {
  is_stopped_ = has_called_ = false;
  if (NowMs() > deadline) {
    result_ = {0, EAGAIN, "PTRACE_INTERRUPT"};
    return Step::kFailed;
  }
  if (Ptrace(PTRACE_INTERRUPT, 0, 0) < 0) return Failed("PTRACE_INTERRUPT");
  Stop stop = Wait(deadline);
  while (stop.kind == Stop::kSignal || stop.kind == Stop::kSystemCall) {
    Ptrace(PTRACE_CONT, 0, static_cast<uintptr_t>(stop.signal));
    stop = Wait(deadline);
  }
  if (stop.kind != Stop::kTrap) {
    result_ = {0, stop.kind == Stop::kGone ? ESRCH : ETIMEDOUT, "PTRACE_INTERRUPT"};
    return Step::kFailed;
  }
  is_stopped_ = true;
  if (!GetRegisters(&stopped_)) return Failed("PTRACE_GETREGSET");
  Instruction instruction = 0;
  const iovec here = {&instruction, sizeof instruction};
  const iovec there = There(CallInstructionOf(stopped_), sizeof instruction);
  const bool read = process_vm_readv(target_.tid, &here, 1, &there, 1, 0) == sizeof instruction;
  if (read && IsInCall(stopped_, instruction)) return Step::kDone;
  is_stopped_ = false;
  Ptrace(PTRACE_CONT, 0, 0);
  const timespec pause = {0, kLookAgainNs};
  nanosleep(&pause, nullptr);
  return Step::kAgain;
}

// Makes the stopped thread perform a call. kAgain: a signal came before it, has been given, and the
// thread runs on; blocking signals instead would leave them blocked if this process were killed.
Tracer::Step Tracer::Call(const SystemCall& call, int64_t* result) {
  if (!SetRegisters(ToCall(stopped_, call))) return Failed("PTRACE_SETREGSET");
  Ptrace(PTRACE_SYSCALL, 0, 0);
  const Stop before = Wait();
  if (before.kind == Stop::kSignal || before.kind == Stop::kTrap) {
    // SAFETY: both are stops before the kernel looks at the interrupted call again.
    SetRegisters(stopped_);
    Ptrace(PTRACE_CONT, 0, static_cast<uintptr_t>(before.signal));
    is_stopped_ = false;
    return Step::kAgain;
  }
  // SAFETY: after our first call, Linux 7.2 on POWER8 begins the interrupted one again, whatever
  // the registers say. We would take its result for ours.
  Registers entering = {};
  if (before.kind == Stop::kSystemCall && GetRegisters(&entering) &&
      NumberOf(entering) != call.number && !SetRegisters(Instead(entering, call))) {
    return Failed("PTRACE_SETREGSET");
  }
  Ptrace(PTRACE_SYSCALL, 0, 0);
  Registers after = {};
  if (before.kind == Stop::kGone || Wait().kind != Stop::kSystemCall || !GetRegisters(&after)) {
    result_ = {0, ESRCH, "PTRACE_SYSCALL"};
    is_stopped_ = false;
    return Step::kFailed;
  }
  has_called_ = true;
  *result = ResultOf(after);
  return Step::kDone;
}

Tracer::Step Tracer::OpenThere() {
  GetHtabFdRequest request = {target_.flags, target_.start_index, {0, 0}};
  // SAFETY: nothing of a thread lies below its red zone: what is written there need not be
  // restored.
  const uint64_t address = (StackOf(stopped_) - kRedZone - sizeof request) & ~15ULL;
  const iovec here = {&request, sizeof request};
  const iovec there = There(address, sizeof request);
  if (process_vm_writev(target_.tid, &here, 1, &there, 1, 0) != sizeof request) {
    return Failed("process_vm_writev");
  }
  int64_t value = 0;
  const auto vm = static_cast<uint64_t>(target_.vm);
  const Step step = Call({SYS_ioctl, {vm, kOpenRequest.number, address}}, &value);
  if (step != Step::kDone) return step;
  if (value < 0) {
    result_ = {0, static_cast<int>(-value), kOpenRequest.name};
    return Step::kFailed;
  }
  theirs_ = value;
  result_ = OutcomeOf("pidfd_getfd", syscall(SYS_pidfd_getfd, pidfd_, value, 0));
  return Step::kDone;
}

Tracer::Step Tracer::CloseThere() {
  int64_t value = 0;
  const Step step = Call({SYS_close, {static_cast<uint64_t>(theirs_), 0, 0}}, &value);
  if (step == Step::kDone) theirs_ = -1;
  return step;
}

// Gives the thread its registers back, in a stop after which the kernel looks at the interrupted
// call again: after a call of ours it would not, and the C library would see ERESTARTNOHAND.
void Tracer::LetGo() {
  int signal = 0;
  if (has_called_) {
    Ptrace(PTRACE_INTERRUPT, 0, 0);
    Ptrace(PTRACE_CONT, 0, 0);
    const Stop stop = Wait();
    if (stop.kind == Stop::kGone) return;
    signal = stop.signal;
    SetRegisters(stopped_);
  }
  Ptrace(PTRACE_DETACH, 0, static_cast<uintptr_t>(signal));
}

// Not PTRACE_O_EXITKILL: the VMM outlives its tracer whatever becomes of that.
Outcome Tracer::Seize() const {
  if (!target_.has_seccomp_filter) {
    return OutcomeOf("PTRACE_SEIZE", Ptrace(PTRACE_SEIZE, 0, PTRACE_O_TRACESYSGOOD));
  }
  const uintptr_t options = PTRACE_O_TRACESYSGOOD | PTRACE_O_SUSPEND_SECCOMP;
  const Outcome seized = OutcomeOf("PTRACE_O_SUSPEND_SECCOMP", Ptrace(PTRACE_SEIZE, 0, options));
  if (seized.error == 0) return seized;
  // Which right is missing: that to trace at all, or the one to suspend a filter?
  const Outcome plain = OutcomeOf("PTRACE_SEIZE", Ptrace(PTRACE_SEIZE, 0, 0));
  return plain.error != 0 ? plain : seized;
}

Outcome Tracer::Run() {
  const Outcome seized = Seize();
  if (seized.error != 0) return seized;
  const int64_t begun = NowMs();
  Step step = Step::kAgain;
  while (step == Step::kAgain) {
    step = StopInCall(begun + (theirs_ < 0 ? kPatienceMs : kLongPatienceMs));
    if (step == Step::kDone && theirs_ < 0) step = OpenThere();
    if (step == Step::kDone) step = CloseThere();
  }
  if (is_stopped_) LetGo();
  // It stays open there.
  if (theirs_ >= 0) result_.call = "close";
  return result_;
}

}  // namespace

Outcome TraceHtab(const AttachTarget& target) {
  const Outcome process = OutcomeOf("pidfd_open", syscall(SYS_pidfd_open, target.pid, 0));
  if (process.error != 0) return process;
  return Tracer(target, static_cast<int>(process.value)).Run();
}

}  // namespace kvm_htab::sys
