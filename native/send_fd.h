#ifndef KVM_HTAB_NATIVE_SEND_FD_H_
#define KVM_HTAB_NATIVE_SEND_FD_H_

#include <sys/socket.h>
#include <sys/uio.h>

#include <cstddef>
#include <cstring>

#include "outcome.h"

namespace kvm_htab::sys {

// Exactly one sendmsg(2), with `fd` beside the bytes unless that is -1. value: bytes sent. It makes
// system calls and uses its stack, nothing else: the tracer (tracer.h) may call it.
inline Outcome SendFd(int peer, const void* bytes, size_t length, int fd) {
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof fd)] = {};
  // sendmsg(2) only reads them.
  iovec text = {const_cast<void*>(bytes), length};
  msghdr message = {};
  message.msg_iov = &text;
  message.msg_iovlen = 1;
  if (fd >= 0) {
    message.msg_control = control;
    message.msg_controllen = sizeof control;
    cmsghdr* part = CMSG_FIRSTHDR(&message);
    part->cmsg_level = SOL_SOCKET;
    part->cmsg_type = SCM_RIGHTS;
    part->cmsg_len = CMSG_LEN(sizeof fd);
    std::memcpy(CMSG_DATA(part), &fd, sizeof fd);
  }
  return OutcomeOf("sendmsg", sendmsg(peer, &message, MSG_DONTWAIT | MSG_NOSIGNAL));
}

}  // namespace kvm_htab::sys

#endif  // KVM_HTAB_NATIVE_SEND_FD_H_
