#include "vm.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#define LPCR_INTERRUPTS_LITTLE_ENDIAN (1ull << 25)

int Must(int result, const char* call) {
  if (result >= 0) return result;
  fprintf(stderr, "%s: %s\n", call, strerror(errno));
  exit(1);
}

static int KvmDevice(void) {
  static int device = -1;
  if (device < 0) device = Must(open("/dev/kvm", O_RDWR | O_CLOEXEC), "open /dev/kvm");
  return device;
}

static int RunBytes(void) {
  return Must(ioctl(KvmDevice(), KVM_GET_VCPU_MMAP_SIZE, 0), "KVM_GET_VCPU_MMAP_SIZE");
}

uint8_t* AllocateGuestMemory(int* descriptor) {
  *descriptor = Must(memfd_create("guest-memory", MFD_CLOEXEC), "memfd_create");
  Must(ftruncate(*descriptor, MEMORY_BYTES), "ftruncate");
  void* memory = mmap(NULL, MEMORY_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, *descriptor, 0);
  Must(memory == MAP_FAILED ? -1 : 0, "mmap");
  // Touched, so that a host page stands behind every guest page.
  memset(memory, 0, MEMORY_BYTES);
  return memory;
}

void UnmapGuestMemory(uint8_t* memory) {
  Must(madvise(memory, MEMORY_BYTES, MADV_DONTNEED), "madvise");
}

struct Vm VmCreate(uint8_t* memory, int log_dirty_pages) {
  struct Vm vm = {.fd = Must(ioctl(KvmDevice(), KVM_CREATE_VM, 1), "KVM_CREATE_VM")};
  struct kvm_userspace_memory_region region = {
      .flags = log_dirty_pages ? KVM_MEM_LOG_DIRTY_PAGES : 0,
      .memory_size = MEMORY_BYTES,
      .userspace_addr = (uintptr_t)memory,
  };
  Must(ioctl(vm.fd, KVM_SET_USER_MEMORY_REGION, &region), "KVM_SET_USER_MEMORY_REGION");
  static const uint64_t kOffByDefault[] = {kHcallRead, kHcallClearMod, kHcallClearRef};
  for (size_t i = 0; i < sizeof kOffByDefault / sizeof *kOffByDefault; i++) {
    struct kvm_enable_cap enable = {.cap = KVM_CAP_PPC_ENABLE_HCALL, .args = {kOffByDefault[i], 1}};
    Must(ioctl(vm.fd, KVM_ENABLE_CAP, &enable), "KVM_CAP_PPC_ENABLE_HCALL");
  }
  return vm;
}

int VmAllocateHtab(struct Vm* vm, uint32_t order) {
  uint32_t wanted = order;
  int result = ioctl(vm->fd, KVM_PPC_ALLOCATE_HTAB, &wanted);
  if (result == 0) vm->order = order;
  return result;
}

uint64_t GetRegister(const struct Vcpu* vcpu, uint64_t id) {
  uint64_t value = 0;
  struct kvm_one_reg reg = {id, (uintptr_t)&value};
  Must(ioctl(vcpu->fd, KVM_GET_ONE_REG, &reg), "KVM_GET_ONE_REG");
  return value;
}

void VmAddVcpu(struct Vm* vm, uint64_t pc) {
  int number = vm->vcpu_count++;
  struct Vcpu* vcpu = &vm->vcpus[number];
  vcpu->fd = Must(ioctl(vm->fd, KVM_CREATE_VCPU, number), "KVM_CREATE_VCPU");
  vcpu->run = mmap(NULL, RunBytes(), PROT_READ | PROT_WRITE, MAP_SHARED, vcpu->fd, 0);
  Must(vcpu->run == MAP_FAILED ? -1 : 0, "mmap of the vcpu");
  struct kvm_enable_cap papr = {.cap = KVM_CAP_PPC_PAPR};
  Must(ioctl(vcpu->fd, KVM_ENABLE_CAP, &papr), "KVM_CAP_PPC_PAPR");
  uint64_t lpcr = GetRegister(vcpu, KVM_REG_PPC_LPCR_64) | LPCR_INTERRUPTS_LITTLE_ENDIAN;
  struct kvm_one_reg reg = {KVM_REG_PPC_LPCR_64, (uintptr_t)&lpcr};
  Must(ioctl(vcpu->fd, KVM_SET_ONE_REG, &reg), "KVM_SET_ONE_REG");
  struct kvm_regs regs;
  Must(ioctl(vcpu->fd, KVM_GET_REGS, &regs), "KVM_GET_REGS");
  regs.pc = pc;
  regs.gpr[3] = number;
  regs.msr = MSR_REAL_MODE;
  Must(ioctl(vcpu->fd, KVM_SET_REGS, &regs), "KVM_SET_REGS");
}

void VmClose(struct Vm* vm) {
  for (int i = 0; i < vm->vcpu_count; i++) {
    munmap(vm->vcpus[i].run, RunBytes());
    close(vm->vcpus[i].fd);
  }
  if (vm->fd >= 0) close(vm->fd);
  *vm = (struct Vm){.fd = -1};
}

int VmOpenHtab(const struct Vm* vm, uint64_t flags, uint64_t start_index) {
  struct kvm_get_htab_fd request = {.flags = flags, .start_index = start_index};
  return ioctl(vm->fd, KVM_PPC_GET_HTAB_FD, &request);
}

void VmTakeDirtyLog(const struct Vm* vm, uint64_t* bitmap) {
  struct kvm_dirty_log log = {.dirty_bitmap = bitmap};
  Must(ioctl(vm->fd, KVM_GET_DIRTY_LOG, &log), "KVM_GET_DIRTY_LOG");
}

enum RunResult RunVcpu(const struct Vcpu* vcpu) {
  int result = ioctl(vcpu->fd, KVM_RUN, 0);
  if (result < 0 && errno == EINTR) return kInterrupted;
  Must(result, "KVM_RUN");
  struct kvm_run* run = vcpu->run;
  if (run->exit_reason == KVM_EXIT_INTR) return kInterrupted;
  if (run->exit_reason != KVM_EXIT_PAPR_HCALL || run->papr_hcall.nr != kHcallExit) {
    return kUnexpectedExit;
  }
  run->papr_hcall.ret = 0;
  return kCalledVmm;
}

void CompleteExit(const struct Vcpu* vcpu) {
  vcpu->run->immediate_exit = 1;
  ioctl(vcpu->fd, KVM_RUN, 0);  // always EINTR
  vcpu->run->immediate_exit = 0;
}
