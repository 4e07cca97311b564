#include "control.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "vm.h"

#define MAX_CLIENTS 8
#define MAX_LINE 16384
#define MAX_ANSWER 16384

static void Send(int peer, int fd, const char* format, va_list arguments) {
  char line[MAX_ANSWER];
  int length = vsnprintf(line, sizeof line - 1, format, arguments);
  if (length > (int)sizeof line - 2) length = sizeof line - 2;
  line[length++] = '\n';
  struct iovec bytes = {line, length};
  union {
    char space[CMSG_SPACE(sizeof fd)];
    struct cmsghdr align;
  } control = {0};
  struct msghdr message = {.msg_iov = &bytes, .msg_iovlen = 1};
  if (fd >= 0) {
    message.msg_control = control.space;
    message.msg_controllen = sizeof control.space;
    struct cmsghdr* part = CMSG_FIRSTHDR(&message);
    part->cmsg_level = SOL_SOCKET;
    part->cmsg_type = SCM_RIGHTS;
    part->cmsg_len = CMSG_LEN(sizeof fd);
    memcpy(CMSG_DATA(part), &fd, sizeof fd);
  }
  // A client that is gone needs no answer.
  (void)!sendmsg(peer, &message, MSG_NOSIGNAL);
}

void Reply(int peer, const char* format, ...) {
  va_list arguments;
  va_start(arguments, format);
  Send(peer, -1, format, arguments);
  va_end(arguments);
}

void ReplyWithFd(int peer, int fd, const char* format, ...) {
  if (fd < 0) {
    Reply(peer, "errno %d", errno);
    return;
  }
  va_list arguments;
  va_start(arguments, format);
  Send(peer, fd, format, arguments);
  va_end(arguments);
  close(fd);
}

static void FormatBytes(char text[MAX_ANSWER], const void* bytes, size_t length) {
  if (2 * length >= MAX_ANSWER) length = 0;
  for (size_t i = 0; i < length; i++) {
    snprintf(text + 2 * i, 3, "%02x", ((const unsigned char*)bytes)[i]);
  }
  text[2 * length] = '\0';
}

void ReplyWithBytes(int peer, const void* bytes, size_t length) {
  char text[MAX_ANSWER];
  FormatBytes(text, bytes, length);
  Reply(peer, "ok %s", text);
}

void ReplyWithState(int peer, const void* bytes, size_t length) {
  char text[MAX_ANSWER];
  FormatBytes(text, bytes, length);
  // With the newline that ends every answer.
  Reply(peer, "ok %zu\n%s", strlen(text) + 1, text);
}

int ParseBytes(const char* text, void* bytes, size_t length) {
  if (strlen(text) != 2 * length || strspn(text, "0123456789abcdef") != 2 * length) return 0;
  for (size_t i = 0; i < length; i++) {
    sscanf(text + 2 * i, "%2hhx", (unsigned char*)bytes + i);
  }
  return 1;
}

// Bytes that follow the line of a request.
static size_t BodyLength(const char* request) {
  size_t length = 0;
  sscanf(request, "accept %zu", &length);
  return length;
}

struct Client {
  size_t length;
  char text[MAX_LINE];
};

// Answers the whole lines of what a client has sent. Returns 0 once the client is gone.
static int ServeClient(int peer, struct Client* client, RequestHandler* handler) {
  ssize_t got = read(peer, client->text + client->length, MAX_LINE - 1 - client->length);
  if (got <= 0) return 0;
  client->length += got;
  client->text[client->length] = '\0';
  for (char* end; (end = strchr(client->text, '\n')) != NULL;) {
    char* body = end + 1;
    char* next = body + BodyLength(client->text);
    if (next < body || next > client->text + client->length) break;
    *end = '\0';
    char* arguments = strchr(client->text, ' ');
    if (arguments != NULL) *arguments++ = '\0';
    if (next > body) {
      arguments = body;
      next[-1] = '\0';
    }
    handler(peer, client->text, arguments == NULL ? "" : arguments);
    client->length -= next - client->text;
    memmove(client->text, next, client->length + 1);
  }
  return client->length < MAX_LINE - 1;
}

void Serve(const char* path, RequestHandler* handler) {
  int listener = Must(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), "socket");
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  snprintf(address.sun_path, sizeof address.sun_path, "%s", path);
  Must(bind(listener, (struct sockaddr*)&address, sizeof address), "bind");
  Must(listen(listener, MAX_CLIENTS), "listen");
  printf("listening\n");
  fflush(stdout);

  struct pollfd polled[1 + MAX_CLIENTS] = {{.fd = listener, .events = POLLIN}};
  static struct Client clients[1 + MAX_CLIENTS];
  int count = 1;
  for (;;) {
    if (poll(polled, count, -1) < 0) continue;
    for (int i = count - 1; i > 0; i--) {
      if (polled[i].revents == 0 || ServeClient(polled[i].fd, &clients[i], handler)) continue;
      close(polled[i].fd);
      count--;
      polled[i] = polled[count];
      clients[i] = clients[count];
    }
    if (polled[0].revents != 0 && count <= MAX_CLIENTS) {
      int peer = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
      if (peer < 0) continue;
      polled[count] = (struct pollfd){.fd = peer, .events = POLLIN};
      clients[count++].length = 0;
    }
  }
}
