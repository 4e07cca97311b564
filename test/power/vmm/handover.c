// A VMM as kvm-htab's commands talk to it, with a guest that never runs: handover SOCKET

#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static int vm;
static int order = 24;
static struct { uint64_t gpr[32], nip, msr; } registers;

// Sends an answer, and a descriptor with it unless that is -1. That a peer has gone shows in the
// next read.
static void Answer(int peer, char* line, int fd) {
  struct iovec text = {line, strlen(line)};
  struct msghdr message = {.msg_iov = &text, .msg_iovlen = 1};
  char control[CMSG_SPACE(sizeof fd)] __attribute__((aligned(8))) = {0};
  if (fd >= 0) {
    message.msg_control = control;
    message.msg_controllen = sizeof control;
    struct cmsghdr* part = CMSG_FIRSTHDR(&message);
    *part = (struct cmsghdr){CMSG_LEN(sizeof fd), SOL_SOCKET, SCM_RIGHTS};
    memcpy(CMSG_DATA(part), &fd, sizeof fd);
  }
  // MSG_NOSIGNAL: else a peer that has gone ends the VMM (SIGPIPE).
  while (sendmsg(peer, &message, MSG_NOSIGNAL) < 0 && errno == EINTR) continue;
}

// Performs a request; bytes that follow its line are read from `requests`.
static void Serve(int peer, const char* request, FILE* requests) {
  char line[64];
  size_t length;
  if (strcmp(request, "open-read") == 0) {
    struct kvm_get_htab_fd how = {.flags = 0};  // KVM_GET_HTAB_WRITE for open-write
    int htab = ioctl(vm, KVM_PPC_GET_HTAB_FD, &how);
    snprintf(line, sizeof line, htab < 0 ? "error %d\n" : "ok %d\n", htab < 0 ? errno : order);
    Answer(peer, line, htab);
    if (htab >= 0) close(htab);  // the peer has its own, and an open one slows the guest down
  } else if (strcmp(request, "pause") == 0 || strcmp(request, "resume") == 0) {
    // Here a VMM stops its vcpus, or lets them run, and answers once that is done.
    Answer(peer, "ok\n", -1);
  } else if (strcmp(request, "rest-ms") == 0) {
    // What the memory that is left would take, were the guest stopped now; far from done: "ok far".
    Answer(peer, "ok 0\n", -1);
  } else if (strcmp(request, "finish") == 0) {
    // Here a VMM sends the memory that is left to the other VMM, and waits until that has it. It
    // stops doing so once its peer has shut the connection down (POLLRDHUP): the guest runs on.
    snprintf(line, sizeof line, "ok %zu\n", sizeof registers);
    Answer(peer, line, -1);
    send(peer, &registers, sizeof registers, MSG_NOSIGNAL);
  } else if (strcmp(request, "can-accept") == 0) {
    Answer(peer, "ok\n", -1);
  } else if (sscanf(request, "accept %zu", &length) == 1) {
    // Here a VMM waits until all memory is in its place, unless its peer shuts the connection down.
    int is_whole = length == sizeof registers && fread(&registers, length, 1, requests) == 1;
    Answer(peer, is_whole ? "ok\n" : "error not a state of this VMM\n", -1);
  } else if (strcmp(request, "discard") == 0 || strcmp(request, "run") == 0) {
    // Here a VMM drops the memory that has come, unless that guest runs; or lets the vcpus run.
    Answer(peer, "ok\n", -1);
  } else {
    Answer(peer, "error no such request\n", -1);
  }
}

// Any number of requests, one a line, however they are cut.
static void* ServePeer(void* argument) {
  int peer = (intptr_t)argument;
  FILE* requests = fdopen(peer, "r");
  if (requests == NULL) {
    close(peer);
    return NULL;
  }
  char text[256];
  while (fgets(text, sizeof text, requests) != NULL) {
    char* end = strchr(text, '\n');
    if (end == NULL) break;
    *end = '\0';
    Serve(peer, text, requests);
  }
  fclose(requests);
  return NULL;
}

static int Failed(const char* what) {
  perror(what);
  return 1;
}

int main(int argc, char** argv) {
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  if (argc != 2 || strlen(argv[1]) >= sizeof address.sun_path) return 2;
  strcpy(address.sun_path, argv[1]);
  int kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
  vm = ioctl(kvm, KVM_CREATE_VM, 1);
  if (vm < 0) return Failed("KVM_CREATE_VM");
  if (ioctl(vm, KVM_PPC_ALLOCATE_HTAB, &order) < 0) return Failed("KVM_PPC_ALLOCATE_HTAB");

  int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (bind(listener, (struct sockaddr*)&address, sizeof address) < 0) return Failed("bind");
  if (listen(listener, SOMAXCONN) < 0) return Failed("listen");
  for (;;) {
    int peer = accept(listener, NULL, NULL);
    if (peer < 0 && (errno == EINTR || errno == ECONNABORTED)) continue;
    if (peer < 0 && (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM)) {
      // Too many peers are no reason to end the guest: some will go.
      usleep(100 * 1000);
      continue;
    }
    if (peer < 0) return Failed("accept");
    // Side by side: a command keeps one connection while it asks over another. And not by fork: a
    // VM's calls are taken from the process that created it alone.
    pthread_t thread;
    if (pthread_create(&thread, NULL, ServePeer, (void*)(intptr_t)peer) == 0) {
      pthread_detach(thread);
    } else {
      close(peer);
    }
  }
}
