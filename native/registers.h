#ifndef KVM_HTAB_NATIVE_REGISTERS_H_
#define KVM_HTAB_NATIVE_REGISTERS_H_

// The registers of a thread that stopped in a system call, and what makes it perform another one
// with the very instruction it stopped behind: no text is changed. x86 is here for the tests.

#include <asm/ptrace.h>
#include <sys/user.h>

#include <cstdint>

namespace kvm_htab::sys {

struct SystemCall {
  uint64_t number;
  uint64_t arguments[3];
};

#if defined(__powerpc64__)

// As PTRACE_GETREGSET has them, and PTRACE_SETREGSET takes them: words with PT_ numbers.
struct Registers {
  uint64_t words[PT_RESULT + 1];
};
using Instruction = uint32_t;

constexpr Instruction kSc = 0x44000002;
constexpr Instruction kScv = 0x44000001;
constexpr uint64_t kTrapOfSc = 0xc00;
constexpr uint64_t kTrapOfScv = 0x3000;
constexpr uint64_t kSummaryOverflow = 0x10000000;
// The ABI lets a function use so much below the stack pointer.
constexpr uint64_t kRedZone = 512;

inline uint64_t CallInstructionOf(const Registers& registers) {
  return registers.words[PT_NIP] - sizeof(Instruction);
}

inline bool IsInCall(const Registers& registers, Instruction instruction) {
  const uint64_t trap = registers.words[PT_TRAP];
  return (trap == kTrapOfSc && instruction == kSc) || (trap == kTrapOfScv && instruction == kScv);
}

inline uint64_t StackOf(const Registers& registers) { return registers.words[PT_R1]; }

// At the stop before a call: another one in its place.
inline Registers Instead(const Registers& entering, const SystemCall& call) {
  Registers registers = entering;
  registers.words[PT_R0] = call.number;
  for (int i = 0; i < 3; ++i) registers.words[PT_R3 + i] = call.arguments[i];
  return registers;
}

inline uint64_t NumberOf(const Registers& entering) { return entering.words[PT_R0]; }

inline Registers ToCall(const Registers& stopped, const SystemCall& call) {
  Registers registers = Instead(stopped, call);
  registers.words[PT_NIP] = CallInstructionOf(stopped);
  // Or the kernel takes r3 for the result of the interrupted call, and starts that again.
  registers.words[PT_TRAP] = 0;
  return registers;
}

// At the stop after the call: what it returned, or minus its errno.
inline int64_t ResultOf(const Registers& registers) {
  const auto value = static_cast<int64_t>(registers.words[PT_R3]);
  const bool is_sc = registers.words[PT_TRAP] == kTrapOfSc;
  return is_sc && (registers.words[PT_CCR] & kSummaryOverflow) != 0 ? -value : value;
}

#elif defined(__x86_64__)

using Registers = user_regs_struct;
using Instruction = uint16_t;

constexpr Instruction kSyscall = 0x050f;
constexpr uint64_t kRedZone = 128;

inline uint64_t CallInstructionOf(const Registers& registers) {
  return registers.rip - sizeof(Instruction);
}

inline bool IsInCall(const Registers& registers, Instruction instruction) {
  return static_cast<int64_t>(registers.orig_rax) >= 0 && instruction == kSyscall;
}

inline uint64_t StackOf(const Registers& registers) { return registers.rsp; }

inline Registers Instead(const Registers& entering, const SystemCall& call) {
  Registers registers = entering;
  registers.orig_rax = call.number;
  registers.rdi = call.arguments[0];
  registers.rsi = call.arguments[1];
  registers.rdx = call.arguments[2];
  return registers;
}

inline uint64_t NumberOf(const Registers& entering) { return entering.orig_rax; }

inline Registers ToCall(const Registers& stopped, const SystemCall& call) {
  Registers registers = Instead(stopped, call);
  registers.rip = CallInstructionOf(stopped);
  registers.rax = call.number;
  registers.orig_rax = ~0ULL;
  return registers;
}

inline int64_t ResultOf(const Registers& registers) { return static_cast<int64_t>(registers.rax); }

#endif

}  // namespace kvm_htab::sys

#endif  // KVM_HTAB_NATIVE_REGISTERS_H_
