// Waits in ppoll(2) for a line on its standard input, as the main loop of a VMM does, and counts
// what else ppoll says. A tracer opens and closes descriptors in it meanwhile.
//
// Usage: waiting PERIOD-US [seccomp]   (a signal comes so often; 0: never; -1: it computes and
// never waits; seccomp: a filter kills the process for an ioctl)
//
// Prints a line with the number of a descriptor that has an ioctl which opens another one; after
// the line on its input, a JSON object.

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/time.h>

static volatile sig_atomic_t signals;

static void Count(int signal) {
  (void)signal;
  signals++;
}

static int ForbidIoctl(void) {
  struct sock_filter filter[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_ioctl, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  const struct sock_fprog program = {sizeof filter / sizeof *filter, filter};
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return -1;
  return prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program);
}

int main(int argc, char** argv) {
  if (argc < 2 || argc > 3) return 2;
  if (argc == 3 && ForbidIoctl() != 0) {
    perror("seccomp");
    return 1;
  }
  struct sigaction action = {.sa_handler = Count};
  sigaction(SIGALRM, &action, NULL);
  const int period = atoi(argv[1]);
  const struct itimerval timer = {{0, period}, {0, period}};
  if (period > 0) setitimer(ITIMER_REAL, &timer, NULL);
  printf("%d\n", open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC));
  fflush(stdout);
  while (period < 0) signals++;

  struct pollfd input = {.fd = 0, .events = POLLIN};
  sigset_t none;
  sigemptyset(&none);
  long interrupted = 0, answers = 0, errors = 0;
  for (;;) {
    const int ready = ppoll(&input, 1, NULL, &none);
    if (ready == 1 && (input.revents & POLLIN) != 0) break;
    if (ready >= 0) {
      answers++;  // for no reason
    } else if (errno == EINTR) {
      interrupted++;
    } else {
      errors++;
    }
  }
  printf("{\"interrupted\":%ld,\"answers\":%ld,\"errors\":%ld,\"signals\":%d}\n", interrupted,
         answers, errors, (int)signals);
  return 0;
}
