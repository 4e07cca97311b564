#ifndef KVM_HTAB_TEST_POWER_KERNEL_BUGS_FAULT_H_
#define KVM_HTAB_TEST_POWER_KERNEL_BUGS_FAULT_H_

// What the programs here share: a VM of KVM HV, its table, its vcpus, and how they end. Each
// says what it expected and what came, and exits with 0 where the kernel has not the fault, with 1
// where it has, with 2 where the fault could not be looked for.

#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <unistd.h>

enum { kSound = 0, kFaulty = 1, kUntried = 2 };

// One record of the stream with one entry: 24 bytes, all of which count.
struct Record {
  struct kvm_get_htab_header header;
  uint64_t v;  // big-endian, as r
  uint64_t r;
};

// Ends the program if `result` is negative.
static inline int Must(int result, const char* call) {
  if (result >= 0) return result;
  printf("not tried: %s: %s\n", call, strerror(errno));
  exit(kUntried);
}

static inline int NewVm(void) {
  int device = Must(open("/dev/kvm", O_RDWR | O_CLOEXEC), "open /dev/kvm");
  int vm = Must(ioctl(device, KVM_CREATE_VM, 1), "KVM_CREATE_VM");
  // On a radix host a new VM is a radix guest's; POWER8 has no such call.
  struct kvm_ppc_mmuv3_cfg hash = {0};
  ioctl(vm, KVM_PPC_CONFIGURE_V3_MMU, &hash);
  return vm;
}

static inline int Allocate(int vm, uint32_t order) {
  return ioctl(vm, KVM_PPC_ALLOCATE_HTAB, &order);
}

static inline int OpenHtab(int vm, uint64_t flags) {
  struct kvm_get_htab_fd request = {.flags = flags};
  return Must(ioctl(vm, KVM_PPC_GET_HTAB_FD, &request), "KVM_PPC_GET_HTAB_FD");
}

static inline struct Record EntryAt(uint32_t index, uint64_t v, uint64_t r) {
  return (struct Record){{index, 1, 0}, __builtin_bswap64(v), __builtin_bswap64(r)};
}

static inline void Put(int writer, uint32_t index, uint64_t v, uint64_t r) {
  struct Record record = EntryAt(index, v, r);
  Must(write(writer, &record, sizeof record) == sizeof record ? 0 : -1, "write");
}

// The entry at an index, read through a descriptor of its own; v is 0 if it is invalid.
static inline struct Record ReadEntry(int vm, uint32_t index) {
  struct kvm_get_htab_fd request = {.start_index = index};
  int reader = Must(ioctl(vm, KVM_PPC_GET_HTAB_FD, &request), "KVM_PPC_GET_HTAB_FD");
  // The last byte of a buffer is never used.
  char buffer[sizeof(struct Record) + 1];
  struct Record record = {0};
  int bytes = Must(read(reader, buffer, sizeof buffer), "read");
  close(reader);
  if (bytes == sizeof record) memcpy(&record, buffer, sizeof record);
  record.v = __builtin_bswap64(record.v);
  record.r = __builtin_bswap64(record.r);
  return record;
}

#define MEMORY_BYTES (64ull << 20)
// MSR of a guest without translation: 64-bit, machine checks on, little-endian.
#define REAL_MODE 0x8000000000001001ull
#define LPCR_INTERRUPTS_LITTLE_ENDIAN (1ull << 25)

struct Vcpu {
  int fd;
  struct kvm_run* run;
};

// Memory for a guest, with code at its beginning. Processes that are forked later have it too.
static inline char* NewMemory(const char* code, size_t bytes) {
  char* memory =
      mmap(NULL, MEMORY_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  Must(memory == MAP_FAILED ? -1 : 0, "mmap");
  memset(memory, 0, MEMORY_BYTES);
  memcpy(memory, code, bytes);
  __builtin___clear_cache(memory, memory + 4096);
  return memory;
}

// The guest has it at its address 0.
static inline void GiveMemory(int vm, char* memory) {
  struct kvm_userspace_memory_region region = {.memory_size = MEMORY_BYTES,
                                               .userspace_addr = (uintptr_t)memory};
  Must(ioctl(vm, KVM_SET_USER_MEMORY_REGION, &region), "KVM_SET_USER_MEMORY_REGION");
}

static inline struct Vcpu AddVcpu(int vm, int number) {
  struct Vcpu vcpu = {.fd = Must(ioctl(vm, KVM_CREATE_VCPU, number), "KVM_CREATE_VCPU")};
  struct kvm_enable_cap papr = {.cap = KVM_CAP_PPC_PAPR};
  Must(ioctl(vcpu.fd, KVM_ENABLE_CAP, &papr), "KVM_CAP_PPC_PAPR");
  uint64_t lpcr = 0;
  struct kvm_one_reg reg = {KVM_REG_PPC_LPCR_64, (uintptr_t)&lpcr};
  Must(ioctl(vcpu.fd, KVM_GET_ONE_REG, &reg), "KVM_GET_ONE_REG");
  lpcr |= LPCR_INTERRUPTS_LITTLE_ENDIAN;
  Must(ioctl(vcpu.fd, KVM_SET_ONE_REG, &reg), "KVM_SET_ONE_REG");
  int device = Must(open("/dev/kvm", O_RDWR), "open /dev/kvm");
  int bytes = Must(ioctl(device, KVM_GET_VCPU_MMAP_SIZE, 0), "KVM_GET_VCPU_MMAP_SIZE");
  vcpu.run = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, vcpu.fd, 0);
  Must(vcpu.run == MAP_FAILED ? -1 : 0, "mmap of the vcpu");
  return vcpu;
}

// Makes the resize to another order; the errno of COMMIT, or 0.
static inline int Resize(int vm, uint32_t order) {
  struct kvm_ppc_resize_hpt resize = {.shift = order};
  int wait_ms;
  while ((wait_ms = Must(ioctl(vm, KVM_PPC_RESIZE_HPT_PREPARE, &resize), "PREPARE")) > 0) {
    usleep(wait_ms * 1000);
  }
  return ioctl(vm, KVM_PPC_RESIZE_HPT_COMMIT, &resize) < 0 ? errno : 0;
}

// Says how it ended, with the kernel's version. `found` is a format for what follows.
__attribute__((format(printf, 3, 4))) static inline int Verdict(int is_faulty, const char* expected,
                                                                const char* found, ...) {
  struct utsname system;
  uname(&system);
  printf("kernel:   %s %s\nexpected: %s\nfound:    ", system.release, system.machine, expected);
  va_list values;
  va_start(values, found);
  vprintf(found, values);
  va_end(values);
  printf("\n%s\n", is_faulty ? "the fault is there" : "the fault is not there");
  return is_faulty ? kFaulty : kSound;
}

// Runs what may stop the kernel's task in a process of its own; the signal that killed it, or 0.
static inline int KilledBy(void (*attempt)(void)) {
  fflush(stdout);
  pid_t child = Must(fork(), "fork");
  if (child == 0) {
    attempt();
    _exit(0);
  }
  int status;
  Must(waitpid(child, &status, 0), "waitpid");
  return WIFSIGNALED(status) ? WTERMSIG(status) : 0;
}

// What stops a kernel runs only where it was asked for.
static inline void MayCrash(int argc, char** argv) {
  if (argc == 2 && strcmp(argv[1], "--may-crash") == 0) return;
  printf("not tried: this can stop the kernel; --may-crash runs it\n");
  exit(kUntried);
}

#endif  // KVM_HTAB_TEST_POWER_KERNEL_BUGS_FAULT_H_
