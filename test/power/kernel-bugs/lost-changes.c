// A guest stores to a page, and its table is resized before anybody has read it: neither the old
// reader nor a new one is told that the page was referenced and changed.

#include <sys/mman.h>

#include "fault.h"

#define MEMORY_BYTES (64ull << 20)
#define REAL_MODE 0x8000000000001001ull
#define DATA_TRANSLATION 0x10ull
#define LPCR_INTERRUPTS_LITTLE_ENDIAN (1ull << 25)

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
    "set_segment: isync; slbia; slbmte 5, 4; isync; li 3, 0x58; sc 1\n"
    "store: std 5, 0(4); li 3, 0x58; sc 1\n"
    "code_end:\n"
    ".popsection");
extern const char set_segment[], store[], code_end[];

static int vcpu;

static void Run(const char* code, uint64_t msr, uint64_t r4, uint64_t r5, struct kvm_run* run) {
  struct kvm_regs regs;
  Must(ioctl(vcpu, KVM_GET_REGS, &regs), "KVM_GET_REGS");
  regs.pc = code - set_segment;
  regs.msr = msr;
  regs.gpr[4] = r4;
  regs.gpr[5] = r5;
  Must(ioctl(vcpu, KVM_SET_REGS, &regs), "KVM_SET_REGS");
  Must(ioctl(vcpu, KVM_RUN, 0), "KVM_RUN");
  if (run->exit_reason != KVM_EXIT_PAPR_HCALL) {
    printf("not tried: the guest ended with exit reason %u\n", run->exit_reason);
    exit(kUntried);
  }
  // The exit is completed, and nothing run, so that the registers may be set.
  run->papr_hcall.ret = 0;
  run->immediate_exit = 1;
  ioctl(vcpu, KVM_RUN, 0);
  run->immediate_exit = 0;
}

static struct kvm_run* AddVcpu(int vm) {
  char* memory =
      mmap(NULL, MEMORY_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  Must(memory == MAP_FAILED ? -1 : 0, "mmap");
  memset(memory, 0, MEMORY_BYTES);
  memcpy(memory, set_segment, code_end - set_segment);
  __builtin___clear_cache(memory, memory + 4096);
  struct kvm_userspace_memory_region region = {.memory_size = MEMORY_BYTES,
                                               .userspace_addr = (uintptr_t)memory};
  Must(ioctl(vm, KVM_SET_USER_MEMORY_REGION, &region), "KVM_SET_USER_MEMORY_REGION");
  vcpu = Must(ioctl(vm, KVM_CREATE_VCPU, 0), "KVM_CREATE_VCPU");
  struct kvm_enable_cap papr = {.cap = KVM_CAP_PPC_PAPR};
  Must(ioctl(vcpu, KVM_ENABLE_CAP, &papr), "KVM_CAP_PPC_PAPR");
  uint64_t lpcr = 0;
  struct kvm_one_reg reg = {KVM_REG_PPC_LPCR_64, (uintptr_t)&lpcr};
  Must(ioctl(vcpu, KVM_GET_ONE_REG, &reg), "KVM_GET_ONE_REG");
  lpcr |= LPCR_INTERRUPTS_LITTLE_ENDIAN;
  Must(ioctl(vcpu, KVM_SET_ONE_REG, &reg), "KVM_SET_ONE_REG");
  int device = Must(open("/dev/kvm", O_RDWR), "open /dev/kvm");
  int bytes = Must(ioctl(device, KVM_GET_VCPU_MMAP_SIZE, 0), "KVM_GET_VCPU_MMAP_SIZE");
  struct kvm_run* run = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, vcpu, 0);
  Must(run == MAP_FAILED ? -1 : 0, "mmap of the vcpu");
  return run;
}

int main(void) {
  int vm = NewVm();
  struct kvm_run* run = AddVcpu(vm);
  Must(Allocate(vm, 18), "KVM_PPC_ALLOCATE_HTAB");
  int writer = OpenHtab(vm, KVM_GET_HTAB_WRITE);
  int reader = OpenHtab(vm, 0);
  Run(set_segment, REAL_MODE, SLB_VALID, VSID << 12, run);
  Put(writer, GROUP * 8, ENTRY_V, ENTRY_R);
  static char buffer[1 << 20];
  while (Must(read(reader, buffer, sizeof buffer), "read") > 0) continue;

  Run(store, REAL_MODE | DATA_TRANSLATION, EFFECTIVE_ADDRESS, 7, run);
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
