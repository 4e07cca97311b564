// A guest stores to a page, and its table is resized before anybody has read it: neither the old
// reader nor a new one is told that the page was referenced and changed.

#include "fault.h"

#define DATA_TRANSLATION 0x10ull

// Effective address 0x10000 in segment 0, VSID 1, is guest address 0x20000; R and C are clear.
#define EFFECTIVE_ADDRESS 0x10000ull
#define VSID 1ull
#define ENTRY_V (VSID << 12 | 0x11)
#define ENTRY_R 0x20012ull
#define GROUP (VSID ^ EFFECTIVE_ADDRESS >> 12)
#define SLB_VALID 0x8000000ull
#define CHANGED 0x80ull
#define REFERENCED 0x100ull

// r4 and r5 come from KVM_SET_REGS; a hypercall that no kernel knows ends KVM_RUN.
__asm__(
    ".pushsection .rodata\n"
    ".balign 4\n"
    "set_segment: isync; slbia; slbmte 5, 4; isync; li 3, 0x58; sc 1\n"
    "store: std 5, 0(4); li 3, 0x58; sc 1\n"
    "code_end:\n"
    ".popsection");
extern const char set_segment[], store[], code_end[];

static struct Vcpu vcpu;

static void Run(const char* code, uint64_t msr, uint64_t r4, uint64_t r5) {
  struct kvm_regs regs;
  Must(ioctl(vcpu.fd, KVM_GET_REGS, &regs), "KVM_GET_REGS");
  regs.pc = code - set_segment;
  regs.msr = msr;
  regs.gpr[4] = r4;
  regs.gpr[5] = r5;
  Must(ioctl(vcpu.fd, KVM_SET_REGS, &regs), "KVM_SET_REGS");
  Must(ioctl(vcpu.fd, KVM_RUN, 0), "KVM_RUN");
  if (vcpu.run->exit_reason != KVM_EXIT_PAPR_HCALL) {
    printf("not tried: the guest ended with exit reason %u\n", vcpu.run->exit_reason);
    exit(kUntried);
  }
  // The exit is completed, and nothing run, so that the registers may be set.
  vcpu.run->papr_hcall.ret = 0;
  vcpu.run->immediate_exit = 1;
  ioctl(vcpu.fd, KVM_RUN, 0);
  vcpu.run->immediate_exit = 0;
}

int main(void) {
  int vm = NewVm();
  GiveMemory(vm, NewMemory(set_segment, code_end - set_segment));
  vcpu = AddVcpu(vm, 0);
  Must(Allocate(vm, 18), "KVM_PPC_ALLOCATE_HTAB");
  int writer = OpenHtab(vm, KVM_GET_HTAB_WRITE);
  int reader = OpenHtab(vm, 0);
  Run(set_segment, REAL_MODE, SLB_VALID, VSID << 12);
  Put(writer, GROUP * 8, ENTRY_V, ENTRY_R);
  static char buffer[1 << 20];
  while (Must(read(reader, buffer, sizeof buffer), "read") > 0) continue;

  Run(store, REAL_MODE | DATA_TRANSLATION, EFFECTIVE_ADDRESS, 7);
  int error = Resize(vm, 19);
  if (error != 0) {
    printf("not tried: COMMIT: %s\n", strerror(error));
    return kUntried;
  }
  int told = Must(read(reader, buffer, sizeof buffer), "read");
  struct Record record = ReadEntry(vm, GROUP * 8);
  int is_lost = (record.r & (CHANGED | REFERENCED)) != (CHANGED | REFERENCED);
  return Verdict(is_lost, "a fresh reader sees r = 20192: R and C set",
                 "a fresh reader sees v = %lx, r = %lx; the old one was told %d bytes",
                 (unsigned long)record.v, (unsigned long)record.r, told);
}
