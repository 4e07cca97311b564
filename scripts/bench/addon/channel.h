#ifndef KVM_HTAB_BENCH_CHANNEL_H_
#define KVM_HTAB_BENCH_CHANNEL_H_

#include <openssl/ssl.h>

#include <cstddef>
#include <memory>
#include <string>

// A connection as a C program has it: a Unix socket that blocks, with TLS over it if wanted.

namespace kvm_htab::bench {

// File descriptors, or -1.
int ListenAt(const char* path);
int AcceptFrom(int listening);
int ConnectTo(const char* path);

// PEM files of a TLS server; empty: no TLS.
struct Identity {
  std::string certificate;
  std::string key;
};

class Channel {
 public:
  // Owns the socket.
  explicit Channel(int fd) : fd_(fd) {}
  ~Channel();
  Channel(const Channel&) = delete;
  Channel& operator=(const Channel&) = delete;

  bool SecureAsClient();
  bool SecureAsServer(const Identity& identity);

  // All bytes, or false.
  bool Write(const void* bytes, size_t size);
  bool Read(void* bytes, size_t size);

 private:
  bool Handshake(SSL_CTX* context, int (*handshake)(SSL*));

  int fd_;
  std::unique_ptr<SSL, decltype(&SSL_free)> tls_ = {nullptr, SSL_free};
};

}  // namespace kvm_htab::bench

#endif  // KVM_HTAB_BENCH_CHANNEL_H_
