// Waits in ppoll(2) for a line on its standard input, as the main loop of a VMM does, and counts
// what else ppoll says. A tracer opens and closes descriptors in it meanwhile.
//
// Usage: waiting PERIOD-US   (a signal comes so often; 0: never; -1: it computes and never waits)
//
// Prints a line with the number of a descriptor that has an ioctl which opens another one; after
// the line on its input, a JSON object.

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/time.h>

static volatile sig_atomic_t signals;

static void Count(int signal) {
  (void)signal;
  signals++;
}

int main(int argc, char** argv) {
  if (argc != 2) return 2;
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
