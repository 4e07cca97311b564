// Hands a read descriptor of a guest's hashed page table to one other process: handover SOCKET

#include <fcntl.h>
#include <linux/kvm.h>
#include <stdint.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/un.h>

int main(int argc, char** argv) {
  if (argc != 2) return 2;
  int kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
  int vm = ioctl(kvm, KVM_CREATE_VM, 1);
  uint32_t order = 24;
  if (ioctl(vm, KVM_PPC_ALLOCATE_HTAB, &order) < 0) return 1;
  struct kvm_get_htab_fd request = {.flags = 0};  // KVM_GET_HTAB_WRITE for a write descriptor
  int htab = ioctl(vm, KVM_PPC_GET_HTAB_FD, &request);
  if (htab < 0) return 1;

  struct sockaddr_un address = {.sun_family = AF_UNIX};
  strncpy(address.sun_path, argv[1], sizeof address.sun_path - 1);
  int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (bind(listener, (struct sockaddr*)&address, sizeof address) < 0) return 1;
  if (listen(listener, 1) < 0) return 1;
  int peer = accept(listener, NULL, NULL);

  char control[CMSG_SPACE(sizeof htab)] __attribute__((aligned(8))) = {0};
  struct iovec text = {"\n", 1};  // a message needs a byte to carry a descriptor
  struct msghdr message = {.msg_iov = &text, .msg_iovlen = 1, .msg_control = control};
  message.msg_controllen = sizeof control;
  struct cmsghdr* part = CMSG_FIRSTHDR(&message);
  *part = (struct cmsghdr){CMSG_LEN(sizeof htab), SOL_SOCKET, SCM_RIGHTS};
  memcpy(CMSG_DATA(part), &htab, sizeof htab);
  return sendmsg(peer, &message, 0) == 1 ? 0 : 1;
}
