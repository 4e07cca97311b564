#include "registers.h"

#include <string.h>
#include <sys/ioctl.h>

// In this order: the kernel computes the decrementer's expiry from the time base offset.
static const uint64_t kNamed[kNamedRegisters] = {
    KVM_REG_PPC_LPCR_64,    KVM_REG_PPC_TB_OFFSET, KVM_REG_PPC_DAR,   KVM_REG_PPC_DSISR,
    KVM_REG_PPC_DSCR,       KVM_REG_PPC_AMR,       KVM_REG_PPC_UAMOR, KVM_REG_PPC_IAMR,
    KVM_REG_PPC_VRSAVE,     KVM_REG_PPC_TAR,       KVM_REG_PPC_EBBHR, KVM_REG_PPC_FPSCR,
    KVM_REG_PPC_DEC_EXPIRY,
};

// The upper 32 vector-scalar registers are the 32 vector registers, and have only those numbers.
static uint64_t VectorId(int i) { return i < 32 ? KVM_REG_PPC_VSR(i) : KVM_REG_PPC_VR(i - 32); }

static void Transfer(const struct Vcpu* vcpu, unsigned long request, uint64_t id,
                     const void* value) {
  struct kvm_one_reg reg = {id, (uintptr_t)value};
  Must(ioctl(vcpu->fd, request, &reg), "KVM_GET_ONE_REG or KVM_SET_ONE_REG");
}

static void TransferAll(const struct Vcpu* vcpu, unsigned long request,
                        const struct Registers* registers) {
  for (int i = 0; i < kNamedRegisters; i++) {
    Transfer(vcpu, request, kNamed[i], &registers->named[i]);
  }
  for (int i = 0; i < kVectorRegisters; i++) {
    Transfer(vcpu, request, VectorId(i), registers->vectors[i]);
  }
}

static void Save(const struct Vcpu* vcpu, struct Registers* registers) {
  CompleteExit(vcpu);
  memset(registers, 0, sizeof *registers);
  Must(ioctl(vcpu->fd, KVM_GET_SREGS, &registers->special), "KVM_GET_SREGS");
  TransferAll(vcpu, KVM_GET_ONE_REG, registers);
  Must(ioctl(vcpu->fd, KVM_GET_REGS, &registers->general), "KVM_GET_REGS");
}

static void Load(const struct Vcpu* vcpu, const struct Registers* registers) {
  struct kvm_sregs special = registers->special;
  Must(ioctl(vcpu->fd, KVM_SET_SREGS, &special), "KVM_SET_SREGS");
  TransferAll(vcpu, KVM_SET_ONE_REG, registers);
  struct kvm_regs general = registers->general;
  Must(ioctl(vcpu->fd, KVM_SET_REGS, &general), "KVM_SET_REGS");
}

void SaveRegisters(const struct Vm* vm, struct Registers registers[MAX_VCPUS]) {
  for (int i = 0; i < vm->vcpu_count; i++) Save(&vm->vcpus[i], &registers[i]);
}

void LoadRegisters(const struct Vm* vm, const struct Registers registers[MAX_VCPUS]) {
  for (int i = 0; i < vm->vcpu_count; i++) Load(&vm->vcpus[i], &registers[i]);
}
