#include "channel.h"

#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <climits>
#include <cstdint>
#include <cstring>

namespace kvm_htab::bench {
namespace {

sockaddr_un AddressOf(const char* path) {
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  strncpy(address.sun_path, path, sizeof address.sun_path - 1);
  return address;
}

int NewSocket() { return socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0); }

}  // namespace

int ListenAt(const char* path) {
  const sockaddr_un address = AddressOf(path);
  const int fd = NewSocket();
  if (bind(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0 &&
      listen(fd, 8) == 0) {
    return fd;
  }
  close(fd);
  return -1;
}

int AcceptFrom(int listening) { return accept4(listening, nullptr, nullptr, SOCK_CLOEXEC); }

int ConnectTo(const char* path) {
  const sockaddr_un address = AddressOf(path);
  const int fd = NewSocket();
  if (connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0) return fd;
  close(fd);
  return -1;
}

Channel::~Channel() {
  if (tls_ != nullptr) SSL_shutdown(tls_.get());
  close(fd_);
}

bool Channel::SecureAsClient() { return Handshake(SSL_CTX_new(TLS_client_method()), SSL_connect); }

bool Channel::SecureAsServer(const Identity& identity) {
  SSL_CTX* context = SSL_CTX_new(TLS_server_method());
  const char* key = identity.key.c_str();
  SSL_CTX_use_certificate_file(context, identity.certificate.c_str(), SSL_FILETYPE_PEM);
  SSL_CTX_use_PrivateKey_file(context, key, SSL_FILETYPE_PEM);
  return Handshake(context, SSL_accept);
}

bool Channel::Handshake(SSL_CTX* context, int (*handshake)(SSL*)) {
  // Node's own connections are of no other version.
  SSL_CTX_set_min_proto_version(context, TLS1_3_VERSION);
  tls_.reset(SSL_new(context));
  // The connection keeps it.
  SSL_CTX_free(context);
  return SSL_set_fd(tls_.get(), fd_) == 1 && handshake(tls_.get()) == 1;
}

bool Channel::Write(const void* bytes, size_t size) {
  auto* from = static_cast<const uint8_t*>(bytes);
  for (size_t done = 0; done < size;) {
    const int part = static_cast<int>(std::min<size_t>(size - done, INT_MAX));
    const ssize_t written = tls_ != nullptr ? SSL_write(tls_.get(), from + done, part)
                                            : write(fd_, from + done, size - done);
    if (written <= 0) return false;
    done += static_cast<size_t>(written);
  }
  return true;
}

bool Channel::Read(void* bytes, size_t size) {
  auto* to = static_cast<uint8_t*>(bytes);
  for (size_t done = 0; done < size;) {
    const int part = static_cast<int>(std::min<size_t>(size - done, INT_MAX));
    const ssize_t given =
        tls_ != nullptr ? SSL_read(tls_.get(), to + done, part) : read(fd_, to + done, size - done);
    if (given <= 0) return false;
    done += static_cast<size_t>(given);
  }
  return true;
}

}  // namespace kvm_htab::bench
