#ifndef KVM_HTAB_TEST_POWER_VMM_CONTROL_H_
#define KVM_HTAB_TEST_POWER_VMM_CONTROL_H_

// A VMM's control socket: a request is a line and so is its answer, with which a descriptor may
// come.

// Answers one request with one call of Reply or ReplyWithFd.
typedef void RequestHandler(int peer, const char* command, const char* arguments);

// Listens at `path` and serves every client, one request at a time, until the program ends.
void Serve(const char* path, RequestHandler* handler);

void Reply(int peer, const char* format, ...) __attribute__((format(printf, 2, 3)));

// Hands `fd` over (SCM_RIGHTS) and closes it here; a negative one is told as the errno it left.
void ReplyWithFd(int peer, int fd, const char* format, ...) __attribute__((format(printf, 3, 4)));

#endif  // KVM_HTAB_TEST_POWER_VMM_CONTROL_H_
