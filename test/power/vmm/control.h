#ifndef KVM_HTAB_TEST_POWER_VMM_CONTROL_H_
#define KVM_HTAB_TEST_POWER_VMM_CONTROL_H_

// A VMM's control socket: a request is a line and so is its answer, with which a descriptor may
// come.

#include <stddef.h>

// Answers one request with one call of Reply or ReplyWithFd. The arguments of `accept LENGTH` are
// the bytes that follow its line, without the last one, a newline.
typedef void RequestHandler(int peer, const char* command, const char* arguments);

// Listens at `path` and serves every client, one request at a time, until the program ends.
void Serve(const char* path, RequestHandler* handler);

void Reply(int peer, const char* format, ...) __attribute__((format(printf, 2, 3)));

// Hands `fd` over (SCM_RIGHTS) and closes it here; a negative one is told as the errno it left.
void ReplyWithFd(int peer, int fd, const char* format, ...) __attribute__((format(printf, 3, 4)));

// Replies "ok" and the bytes in hexadecimal.
void ReplyWithBytes(int peer, const void* bytes, size_t length);

// Replies with the bytes as a state, see VmmSocket: text, in hexadecimal, with a newline.
void ReplyWithState(int peer, const void* bytes, size_t length);

// Parses `length` bytes in hexadecimal. Returns 0 if the text is something else.
int ParseBytes(const char* text, void* bytes, size_t length);

#endif  // KVM_HTAB_TEST_POWER_VMM_CONTROL_H_
